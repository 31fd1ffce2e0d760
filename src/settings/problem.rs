//! How a mistake in the settings reads: file, line, column, the line itself, what is wrong, what would be right.

use std::fmt;
use std::path::{Path, PathBuf};

use super::model::Settings;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Where in it; `None` when the file as a whole is meant.
    pub place: Option<Place>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
    /// An account that is not there yet would put it right.
    pub awaits_account: bool,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line itself, shortened to [`LINE_MAX`] characters.
    pub text: String,
}

impl Place {
    /// The place of an octet offset in a text.
    pub fn of_offset(content: &str, offset: usize) -> Self {
        let offset = content.floor_char_boundary(offset.min(content.len()));
        let before = &content[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = content[line_start..].lines().next().unwrap_or("");
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            text: line.chars().take(LINE_MAX).collect(),
        }
    }
}

impl Problem {
    /// A mistake that concerns a whole file.
    pub fn of_file(file: &Path, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            place: None,
            message: message.into(),
            hint: None,
            awaits_account: false,
        }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, put right by an account that is not there yet.
    #[must_use]
    pub fn awaits_account(mut self) -> Self {
        self.awaits_account = true;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(place) = &self.place {
            let margin = place.line.to_string().len();
            write!(f, "\n  {} | {}", place.line, place.text.replace('\t', " "))?;
            write!(
                f,
                "\n  {:margin$} | {:indent$}^",
                "",
                "",
                indent = place.column.min(LINE_MAX) - 1
            )?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All mistakes of all files, never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in self.0.iter().take(PROBLEMS_SHOWN_MAX) {
            writeln!(f, "{problem}")?;
        }
        match self.0.len() {
            1 => write!(f, "1 mistake in the settings"),
            n if n > PROBLEMS_SHOWN_MAX => write!(
                f,
                "{n} mistakes in the settings, the first {PROBLEMS_SHOWN_MAX} are shown"
            ),
            n => write!(f, "{n} mistakes in the settings"),
        }
    }
}

/// Settings in which the domains file may name accounts that are not there yet, and what says so.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The settings; what the missing accounts would get leads nowhere.
    pub settings: Settings,
    /// All of them await an account. Empty when nothing is missing.
    pub missing: Vec<Problem>,
}

impl Unfinished {
    /// The settings, if nothing is missing.
    pub fn finished(self) -> Result<Settings, Problems> {
        if self.missing.is_empty() {
            Ok(self.settings)
        } else {
            Err(Problems(self.missing))
        }
    }
}

/// Characters of a line that are shown.
const LINE_MAX: usize = 160;
/// Mistakes that are printed; the count says how many there are.
pub(super) const PROBLEMS_SHOWN_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_characters_from_one() {
        let content = "a = 1\nü = \"é\" x\n";
        let place = Place::of_offset(content, content.find('x').unwrap());
        assert_eq!(
            (place.line, place.column, place.text.as_str()),
            (2, 9, "ü = \"é\" x")
        );
        assert_eq!(Place::of_offset(content, 9999).line, 3);
        assert_eq!(
            Place::of_offset("", 0),
            Place {
                line: 1,
                column: 1,
                text: String::new()
            }
        );
    }

    #[test]
    fn a_problem_shows_the_line_and_points_at_the_column() {
        let problem = Problem {
            place: Some(Place::of_offset("x = 1\nport = 70000\n", 13)),
            ..Problem::of_file(Path::new("r.toml"), "too large")
        }
        .hint("at most 65535");
        assert_eq!(
            problem.to_string(),
            "r.toml:2:8: too large\n  2 | port = 70000\n    |        ^\n  hint: at most 65535"
        );
    }
}
