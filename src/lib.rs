//! The server.
pub mod directory;
pub mod settings;
