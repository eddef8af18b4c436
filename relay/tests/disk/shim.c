/* Stands between a process and its disk (LD_PRELOAD): records what it writes and syncs, or fails it.
 *
 * DISK_ROOT    only files below this directory count
 * DISK_LOG     record to this file: see `record` below
 * DISK_FAULT   fail as this file says, from when it exists: "fsync" (EIO from fsync and fdatasync),
 *              "full" (ENOSPC from writes), "read-only" (EROFS from writes), "torn" (half of a write,
 *              then EIO)
 *
 * A record is: kind (1 byte), length of the path (4), path below the root, offset (8), length (8), data.
 * Numbers are little-endian. Kinds: W write, T truncate (offset is the new length), F sync of a file,
 * D sync of a directory, C create, R rename (data is the new path), U unlink, M make a directory,
 * N note (a line that the process wrote to a file named NOTES: no part of the disk's state).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX], fault[PATH_MAX];
static size_t root_length;
static int log_fd = -1, started;

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, name)

static ssize_t raw_write(int fd, const void *data, size_t length) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, data, length);
}

static int raw_open(const char *path, int flags, mode_t mode) {
    REAL(int, "open", const char *, int, ...);
    return real(path, flags, mode);
}

static void start(void) {
    if (started) return;
    started = 1;
    const char *name = getenv("DISK_ROOT");
    if (!name || !realpath(name, root)) { root_length = 0; return; }
    root_length = strlen(root);
    if ((name = getenv("DISK_FAULT"))) snprintf(fault, sizeof fault, "%s", name);
    if ((name = getenv("DISK_LOG"))) log_fd = raw_open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The path below the root; NULL if it is elsewhere. */
static const char *below(const char *path) {
    if (!root_length || strncmp(path, root, root_length)) return NULL;
    if (path[root_length] == '/') return path + root_length + 1;
    return path[root_length] ? NULL : "";
}

static const char *resolve(int dir, const char *path, char *whole) {
    start();
    if (!root_length) return NULL;
    if (path[0] == '/') snprintf(whole, PATH_MAX, "%s", path);
    else {
        char base[64], at[PATH_MAX];
        snprintf(base, sizeof base, dir == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", dir);
        ssize_t n = readlink(base, at, sizeof at - 1);
        if (n < 0) return NULL;
        at[n] = 0;
        if (snprintf(whole, PATH_MAX, "%s/%s", at, path) >= PATH_MAX) return NULL;
    }
    return below(whole);
}

static const char *of_fd(int fd, char *whole) {
    start();
    if (!root_length) return NULL;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, whole, PATH_MAX - 1);
    if (n < 0) return NULL;
    whole[n] = 0;
    return below(whole);
}

static int is_notes(const char *path) {
    const char *slash = strrchr(path, '/');
    return !strcmp(slash ? slash + 1 : path, "NOTES");
}

static void record(char kind, const char *path, uint64_t offset, const void *data, uint64_t length) {
    if (log_fd < 0) return;
    uint32_t size = (uint32_t)strlen(path);
    struct iovec parts[] = {
        {&kind, 1}, {&size, 4}, {(void *)path, size}, {&offset, 8}, {&length, 8}, {(void *)data, length},
    };
    uint64_t total = 21 + size + length;
    /* A record that is cut off would be misread, so that this must not go wrong in silence. */
    if (writev(log_fd, parts, 6) != (ssize_t)total) abort();
}

/* What the operator of this disk wants to happen: the first letter of the fault, or 0. */
static char wanted(void) {
    if (!fault[0]) return 0;
    int fd = raw_open(fault, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return 0;
    char kind[2] = {0, 0};
    if (read(fd, kind, 2) < 1) kind[0] = 0;
    close(fd);
    /* "fsync" and "full" begin alike. */
    return kind[0] == 'f' ? (kind[1] == 's' ? 's' : 'u') : kind[0];
}

static ssize_t written(int fd, const void *data, size_t length, int64_t at, ssize_t (*go)(int, const void *, size_t, int64_t)) {
    char whole[PATH_MAX];
    const char *path = of_fd(fd, whole);
    if (!path) return go(fd, data, length, at);
    char kind = is_notes(path) ? 0 : wanted();
    if (kind == 'u') { errno = ENOSPC; return -1; }
    if (kind == 'r') { errno = EROFS; return -1; }
    if (kind == 't') { if (length > 1) go(fd, data, length / 2, at); errno = EIO; return -1; }
    pthread_mutex_lock(&lock);
    int64_t offset = at >= 0 ? at : lseek(fd, 0, SEEK_CUR);
    if (at < 0 && (fcntl(fd, F_GETFL) & O_APPEND)) offset = lseek(fd, 0, SEEK_END);
    ssize_t count = go(fd, data, length, at);
    if (count > 0) record(is_notes(path) ? 'N' : 'W', path, (uint64_t)offset, data, (uint64_t)count);
    pthread_mutex_unlock(&lock);
    return count;
}

static ssize_t go_write(int fd, const void *data, size_t length, int64_t at) {
    (void)at;
    return raw_write(fd, data, length);
}

static ssize_t go_pwrite(int fd, const void *data, size_t length, int64_t at) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, int64_t);
    return real(fd, data, length, at);
}

ssize_t write(int fd, const void *data, size_t length) { return written(fd, data, length, -1, go_write); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return written(fd, data, length, at, go_pwrite); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) { return written(fd, data, length, at, go_pwrite); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    char whole[PATH_MAX];
    if (fd == log_fd || !of_fd(fd, whole)) return real(fd, parts, count);
    /* One part at a time: a short write is allowed. */
    for (int i = 0; i < count; i++)
        if (parts[i].iov_len) return write(fd, parts[i].iov_base, parts[i].iov_len);
    return 0;
}

static int truncated(int fd, int64_t length) {
    REAL(int, "ftruncate64", int, int64_t);
    char whole[PATH_MAX];
    const char *path = of_fd(fd, whole);
    if (path && wanted() == 'r') { errno = EROFS; return -1; }
    pthread_mutex_lock(&lock);
    int result = real(fd, length);
    if (!result && path) record('T', path, (uint64_t)length, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncated(fd, length); }

static int synced(int fd, int (*go)(int)) {
    char whole[PATH_MAX];
    struct stat what;
    const char *path = of_fd(fd, whole);
    if (path && wanted() == 's') { errno = EIO; return -1; }
    int result = go(fd);
    if (!result && path && !fstat(fd, &what)) {
        pthread_mutex_lock(&lock);
        record(S_ISDIR(what.st_mode) ? 'D' : 'F', path, 0, "", 0);
        pthread_mutex_unlock(&lock);
    }
    return result;
}

/* The recorded disk is the one that counts; the machine's is not waited for. */
static int go_sync(int fd) { (void)fd; return 0; }

int fsync(int fd) { return synced(fd, go_sync); }
int fdatasync(int fd) { return synced(fd, go_sync); }

static int opened(int dir, const char *path, int flags, mode_t mode) {
    REAL(int, "openat", int, const char *, int, ...);
    char whole[PATH_MAX];
    const char *name = resolve(dir, path, whole);
    if (!name || !(flags & O_CREAT)) return real(dir, path, flags, mode);
    struct stat what;
    int is_new = fstatat(dir, path, &what, 0) != 0;
    if (is_new && wanted() == 'r') { errno = EROFS; return -1; }
    if (is_new && wanted() == 'u') { errno = ENOSPC; return -1; }
    pthread_mutex_lock(&lock);
    int fd = real(dir, path, flags, mode);
    if (fd >= 0 && is_new && !is_notes(name)) record('C', name, 0, "", 0);
    if (fd >= 0 && !is_new && (flags & O_TRUNC)) record('T', name, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN_MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
int open(const char *path, int flags, ...) { OPEN_MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { OPEN_MODE return opened(AT_FDCWD, path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { OPEN_MODE return opened(dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) { OPEN_MODE return opened(dir, path, flags, mode); }

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    char one[PATH_MAX], two[PATH_MAX];
    const char *old = resolve(AT_FDCWD, from, one), *fresh = resolve(AT_FDCWD, to, two);
    if (old && wanted() == 'r') { errno = EROFS; return -1; }
    pthread_mutex_lock(&lock);
    int result = real(from, to);
    if (!result && old && fresh) record('R', old, 0, fresh, strlen(fresh));
    pthread_mutex_unlock(&lock);
    return result;
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    char whole[PATH_MAX];
    const char *name = resolve(AT_FDCWD, path, whole);
    if (name && wanted() == 'r') { errno = EROFS; return -1; }
    pthread_mutex_lock(&lock);
    int result = real(path);
    if (!result && name) record('U', name, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    char whole[PATH_MAX];
    const char *name = resolve(AT_FDCWD, path, whole);
    pthread_mutex_lock(&lock);
    int result = real(path, mode);
    if (!result && name) record('M', name, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return result;
}
