//! Newtypes for secrets.

/// A secret of fixed length: wiped on drop, never printed, never cloned,
/// compared in constant time.
macro_rules! secret {
    ($(#[$meta:meta])* $vis:vis struct $name:ident($len:expr);) => {
        $(#[$meta])*
        $vis struct $name([u8; $len]);

        #[allow(dead_code)]
        impl $name {
            /// All zero: a place to derive into.
            pub(crate) const fn blank() -> Self {
                Self([0; $len])
            }

            /// In a place of its own, filled there: a move leaves no copy.
            pub(crate) fn boxed(fill: impl FnOnce(&mut [u8; $len])) -> alloc::boxed::Box<Self> {
                let mut secret = alloc::boxed::Box::new(Self::blank());
                fill(&mut secret.0);
                secret
            }

            pub(crate) const fn expose(&self) -> &[u8; $len] {
                &self.0
            }

            pub(crate) fn expose_mut(&mut self) -> &mut [u8; $len] {
                &mut self.0
            }

            pub(crate) fn from_array(bytes: &[u8; $len]) -> Self {
                Self(*bytes)
            }
        }

        impl zeroize::Zeroize for $name {
            fn zeroize(&mut self) {
                // As a slice it is wiped in one go, as an array byte by byte.
                self.0.as_mut_slice().zeroize();
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                zeroize::Zeroize::zeroize(self);
            }
        }

        impl zeroize::ZeroizeOnDrop for $name {}

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let Self(_) = self;
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }

        impl subtle::ConstantTimeEq for $name {
            fn ct_eq(&self, other: &Self) -> subtle::Choice {
                self.0.ct_eq(&other.0)
            }
        }

        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                subtle::ConstantTimeEq::ct_eq(self, other).into()
            }
        }

        impl Eq for $name {}
    };
}

/// A [`secret!`] in a place of its own, for what is handed on by value: a move
/// leaves no copy of it behind.
macro_rules! boxed_secret {
    ($(#[$meta:meta])* $vis:vis struct $name:ident($bytes:ident, $len:expr);) => {
        secret! {
            struct $bytes($len);
        }

        $(#[$meta])*
        $vis struct $name(alloc::boxed::Box<$bytes>);

        #[allow(dead_code)]
        impl $name {
            fn fill(fill: impl FnOnce(&mut [u8; $len])) -> Self {
                Self($bytes::boxed(fill))
            }

            pub(crate) fn expose(&self) -> &[u8; $len] {
                self.0.expose()
            }

            pub(crate) fn from_array(bytes: &[u8; $len]) -> Self {
                Self::fill(|secret| secret.copy_from_slice(bytes))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                let Self(_) = self;
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    };
}
