//! Writes our DKIM-Signature field, folded.
//! Used by `signing`. RFC 6376 3.5, RFC 5322 2.1.1 and 2.2.3. Not here: what is in the tags.

use crate::limits::FOLD_COLUMN_MAX;

/// A field that grows word by word. Only what has no place to fold makes a line longer than [`FOLD_COLUMN_MAX`].
#[derive(Debug)]
pub(crate) struct FieldText {
    text: String,
    column: usize,
}

impl FieldText {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            text: format!("{name}:"),
            column: name.len() + 1,
        }
    }

    /// Puts a space and the word, or a fold and the word.
    pub(crate) fn word(&mut self, word: &str) {
        if self.column + 1 + word.len() > FOLD_COLUMN_MAX {
            self.fold();
        } else {
            self.text.push(' ');
            self.column += 1;
        }
        self.put(word);
    }

    /// Puts the piece, with a fold before it if it needs one.
    pub(crate) fn piece(&mut self, piece: &str) {
        if self.column + piece.len() > FOLD_COLUMN_MAX {
            self.fold();
        }
        self.put(piece);
    }

    /// Puts text in which folds are allowed everywhere, which is in ASCII.
    pub(crate) fn anywhere(&mut self, mut text: &str) {
        while !text.is_empty() {
            if self.column >= FOLD_COLUMN_MAX {
                self.fold();
            }
            let (front, rest) = text.split_at(text.len().min(FOLD_COLUMN_MAX - self.column));
            self.put(front);
            text = rest;
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// With the line end of the field.
    pub(crate) fn finish(mut self) -> String {
        self.text.push_str("\r\n");
        self.text
    }

    fn fold(&mut self) {
        self.text.push_str("\r\n\t");
        self.column = 1;
    }

    fn put(&mut self, text: &str) {
        self.text.push_str(text);
        self.column += text.len();
    }
}
