//! The server.
pub mod directory;
pub mod settings;
pub mod store;
