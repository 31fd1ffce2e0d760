//! HTTP. (Being built.)

use std::rc::Rc;

use crate::percore::PerCore;

/// Panics in connections of this door.
pub static ROOM: shards::rt::Room = shards::rt::Room::new("web");

/// Serves a connection.
pub async fn serve(_core: Rc<PerCore>, _stream: shards::rt::Stream) {}
