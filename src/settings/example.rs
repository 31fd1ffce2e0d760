//! What `config example` prints: sample files in which every field is explained with its default. They are the files of `config/`, so
//! there is one copy. The tests hold them to the model: each field is there, and what is shown as a default is one.

/// A sample file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// Its path below the directory of the configuration.
    pub path: &'static str,
    /// What is in it.
    pub content: &'static str,
}

/// The built-in rules of traffic shaping, which say how rules are written.
pub const SHAPING: Example = Example {
    path: "shaping.toml",
    content: super::shaping::SHIPPED,
};

/// The sample files; together they are settings without a mistake.
pub const EXAMPLES: [Example; 3] = [
    Example {
        path: "ringmail.toml",
        content: include_str!("../../config/ringmail.toml"),
    },
    Example {
        path: "domains.toml",
        content: include_str!("../../config/domains.toml"),
    },
    Example {
        path: "accounts/example.toml",
        content: include_str!("../../config/accounts/example.toml"),
    },
];

#[cfg(test)]
#[path = "example_tests.rs"]
mod tests;
