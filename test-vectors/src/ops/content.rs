//! Content (09).

use serde_json::{Value, json};
use undertone_session::content::{
    Attachment, BlobKeyBytes, Body, Content, ContentError, Reaction, Route,
};
use undertone_session::ids::{MessageId, UnixMillis};

use crate::value::{Args, hex};
use crate::{Fail, Outcome};

pub(super) fn run(op: &str, args: &Args<'_>) -> Option<Outcome<Value>> {
    Some(match op {
        "content-read" => read(args),
        "content-write" => write(args),
        _ => return None,
    })
}

fn refused(error: ContentError) -> Fail {
    Fail::refused(error.code())
}

fn read(args: &Args<'_>) -> Outcome<Value> {
    let content = Content::decode(&args.bytes("content")?).map_err(refused)?;
    Ok(json!({
        "kind": content.body.kind(),
        "id": hex(content.id.as_bytes()),
        "sent_at": content.sent_at.get(),
        "fields": fields(&content.body)?,
    }))
}

fn ids(ids: &[MessageId]) -> Value {
    json!({ "ids": ids.iter().map(|id| hex(id.as_bytes())).collect::<Vec<_>>() })
}

fn fields(body: &Body) -> Outcome<Value> {
    Ok(match body {
        Body::Text(text) => json!({ "text": text }),
        Body::Attachment(file) => json!({
            "blob_id": hex(&file.blob),
            "read_capability": hex(file.read.as_bytes()),
            "file_key": hex(file.key.as_bytes()),
            "commitment": hex(&file.commitment),
            "sha256": hex(&file.sha256),
            "size": file.size,
            "relay": hex(&file.relay),
            "name": file.name,
            "media_type": file.media_type,
            "caption": file.caption,
        }),
        Body::DeliveryAck(list) | Body::ReadReceipt(list) => ids(list),
        Body::Reaction(Reaction { target, emoji, removed }) => {
            json!({ "target": hex(target.as_bytes()), "removed": removed, "text": emoji })
        }
        Body::Edit { target, text } => json!({ "target": hex(target.as_bytes()), "text": text }),
        Body::Delete(target) => json!({ "target": hex(target.as_bytes()) }),
        Body::Typing(active) => json!({ "active": active }),
        Body::Profile { name } => json!({ "name": name }),
        Body::Disappearing { seconds } => json!({ "seconds": seconds }),
        Body::MailboxMove(route) => json!({ "route": hex(route.as_bytes()) }),
        Body::DeviceList(list) => json!({ "list": hex(list) }),
        Body::Custom { name, payload } => json!({ "name": name, "data": hex(payload) }),
        Body::ResetLink(link) => json!({ "link": hex(link.as_bytes()) }),
        Body::ResetNotice { cause, sessions } => {
            json!({ "cause": cause, "sessions": sessions.iter().map(|id| hex(id)).collect::<Vec<_>>() })
        }
        Body::Unknown { payload, .. } => json!({ "payload": hex(payload) }),
        _ => return Err(Fail::wrong("a kind that this program does not know")),
    })
}

fn id(args: &Args<'_>, name: &str) -> Outcome<MessageId> {
    args.array(name).map(MessageId::from_bytes)
}

fn id_list(args: &Args<'_>) -> Outcome<Vec<MessageId>> {
    args.hex_list("ids")?
        .into_iter()
        .map(|id| {
            let id = id.try_into().map_err(|_| Fail::wrong("an id has 16 bytes"))?;
            Ok(MessageId::from_bytes(id))
        })
        .collect()
}

fn session_list(args: &Args<'_>) -> Outcome<Vec<[u8; 32]>> {
    let ids = args.hex_list("sessions")?.into_iter();
    ids.map(|id| id.try_into().map_err(|_| Fail::wrong("a session id has 32 bytes"))).collect()
}

fn body(kind: u32, args: &Args<'_>) -> Outcome<Body> {
    Ok(match kind {
        1 => Body::Text(args.text("text")?),
        2 => Body::Attachment(Box::new(Attachment {
            name: args.text("name")?,
            media_type: args.text("media_type")?,
            size: args.number("size")?,
            key: BlobKeyBytes::new(args.array("file_key")?),
            commitment: args.array("commitment")?,
            sha256: args.array("sha256")?,
            relay: args.bytes("relay")?,
            blob: args.array("blob_id")?,
            read: BlobKeyBytes::new(args.array("read_capability")?),
            caption: args.text("caption")?,
        })),
        3 => Body::DeliveryAck(id_list(args)?),
        4 => Body::ReadReceipt(id_list(args)?),
        5 => Body::Reaction(Reaction {
            target: id(args, "target")?,
            emoji: args.text("text")?,
            removed: args.flag("removed")?,
        }),
        6 => Body::Edit { target: id(args, "target")?, text: args.text("text")? },
        7 => Body::Delete(id(args, "target")?),
        8 => Body::Typing(args.flag("active")?),
        9 => Body::Profile { name: args.text("name")? },
        10 => Body::Disappearing { seconds: args.u32("seconds")? },
        11 => Body::MailboxMove(Route::from_bytes(&args.bytes("route")?)),
        12 => Body::DeviceList(args.bytes("list")?),
        13 => Body::Custom { name: args.text("name")?, payload: args.bytes("data")? },
        14 => Body::ResetLink(Route::from_bytes(&args.bytes("link")?)),
        15 => Body::ResetNotice {
            cause: u8::try_from(args.u32("cause")?)
                .map_err(|_| Fail::wrong("a cause is a byte"))?,
            sessions: session_list(args)?,
        },
        kind => Body::Unknown { kind, payload: args.bytes("payload")? },
    })
}

fn write(args: &Args<'_>) -> Outcome<Value> {
    let content = Content {
        id: id(args, "id")?,
        sent_at: UnixMillis::new(args.number("sent_at")?),
        body: body(args.u32("kind")?, &Args::of(args.get("fields")?)?)?,
    };
    Ok(json!({ "content": hex(&content.encode().map_err(refused)?) }))
}
