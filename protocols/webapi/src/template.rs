//! A template and the data of a recipient become the texts of a message: subject, text, HTML, values of header fields, the recipient's name.
//! Called where a batch is accepted (is it sound, does it fit its recipients?) and where its messages are made.
//!
//! Template and data are our user's, and hostile for all we know. What they can make the engine do is bounded by fuel, which pays for each
//! instruction and for each octet that is made or copied; so also for what is thrown away again. All parts of a message are rendered from one budget of it.
//! A template reads no file and no other template.
//! What comes out is text that somebody else checks: no header field is safe until [`compose`](crate::compose::compose) has looked at it.
//! Not here: MIME, who may send.

use std::collections::BTreeSet;
use std::fmt;

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::merge_maps;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior, Value};
use serde::{Deserialize, Serialize};

use crate::compose::is_field_name;

/// The texts of a template, as they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Its subject.
    pub subject: String,
    /// As plain text. This or HTML must be there.
    pub text: String,
    /// As HTML: what is put in is escaped.
    pub html: String,
    /// The name of a recipient that has none of his own; empty: he has none.
    pub to_name: String,
    /// Names of header fields, and their values, which are templates.
    pub headers: Vec<(String, String)>,
}

/// What a template comes to for a recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Its subject.
    pub subject: String,
    /// As plain text.
    pub text: String,
    /// As HTML.
    pub html: String,
    /// The recipient's name.
    pub to_name: String,
    /// More header fields, in their order.
    pub headers: Vec<(String, String)>,
}

/// What is wrong with a part of a template, or with what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which part, as a JSON pointer (RFC 6901) within the template: `/subject`, `/headers/2/value`.
    pub pointer: String,
    /// In which line of it, from 1 on, as far as that is known.
    pub line: Option<usize>,
    /// Why.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}, line {line}: {}", self.pointer, self.reason),
            None => write!(f, "{}: {}", self.pointer, self.reason),
        }
    }
}

/// Why a template can't be rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RenderError {
    /// It takes more than was allowed; of [`Effort::Quick`] it may be no more than others take.
    TooMuch(Problem),
    /// It does not fit the data, or is wrong.
    Wrong(Problem),
}

impl RenderError {
    /// What is wrong.
    pub fn into_problem(self) -> Problem {
        match self {
            RenderError::TooMuch(problem) | RenderError::Wrong(problem) => problem,
        }
    }
}

/// How much a rendering may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// A fraction of a millisecond: where others wait meanwhile.
    Quick,
    /// As much as any template may.
    Full,
}

/// A template that was found sound.
pub struct Template {
    environment: Environment<'static>,
    header_names: Vec<String>,
    variables: BTreeSet<String>,
    has: Fields,
}

#[derive(Clone, Copy)]
struct Fields {
    subject: bool,
    text: bool,
    html: bool,
    to_name: bool,
}

impl Template {
    /// Reads a template; all that is wrong with it is told at once.
    pub fn check(parts: &Parts) -> Result<Template, Vec<Problem>> {
        let mut problems = bounds(parts);
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|name| match name {
            "html" => AutoEscape::Html,
            _ => AutoEscape::None,
        });
        for name in WITHOUT_GLOBALS {
            environment.remove_global(name);
        }
        for name in WITHOUT_FILTERS {
            environment.remove_filter(name);
        }
        environment.add_filter("plus", arithmetic(i64::checked_add, |a, b| a + b));
        environment.add_filter("times", arithmetic(i64::checked_mul, |a, b| a * b));
        let mut variables = BTreeSet::new();
        for (name, pointer, source) in fields(parts) {
            if let Err(found) = tags(&pointer, source) {
                problems.push(found);
                continue;
            }
            let added = environment.add_template_owned(name.clone(), source.to_owned());
            if let Err(error) = added {
                problems.push(problem(&pointer, &error));
                continue;
            }
            if let Ok(template) = environment.get_template(&name) {
                variables.extend(template.undeclared_variables(false));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        environment.set_recursion_limit(RECURSION_MAX);
        let globals: Vec<String> = environment.globals().map(|(n, _)| n.to_string()).collect();
        variables.retain(|name| !globals.contains(name) && name != RECIPIENT);
        Ok(Template {
            environment,
            header_names: parts.headers.iter().map(|(n, _)| n.clone()).collect(),
            variables,
            has: Fields {
                subject: !parts.subject.is_empty(),
                text: !parts.text.is_empty(),
                html: !parts.html.is_empty(),
                to_name: !parts.to_name.is_empty(),
            },
        })
    }

    /// Names that it asks the data for; some may be asked for only where they are there.
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.variables
    }

    /// What it comes to for a recipient.
    pub fn render(&self, data: &Data, effort: Effort) -> Result<Rendered, RenderError> {
        let mut rendering = Rendering::new(self, data, effort);
        let mut render = |is_there: bool, name: &str, pointer: &str| match is_there {
            true => rendering.part(name, pointer),
            false => Ok(String::new()),
        };
        let mut rendered = Rendered {
            subject: render(self.has.subject, "subject", "/subject")?,
            text: render(self.has.text, "text", "/text")?,
            html: render(self.has.html, "html", "/html")?,
            to_name: render(self.has.to_name, "to_name", "/to_name")?,
            headers: Vec::with_capacity(self.header_names.len()),
        };
        for (at, name) in self.header_names.iter().enumerate() {
            let value = render(true, &format!("header{at}"), &header_pointer(at))?;
            rendered.headers.push((name.clone(), value));
        }
        check(&rendered)?;
        Ok(rendered)
    }

    /// What its subject comes to for a recipient.
    pub fn render_subject(&self, data: &Data, effort: Effort) -> Result<String, RenderError> {
        if !self.has.subject {
            return Ok(String::new());
        }
        let subject = Rendering::new(self, data, effort).part("subject", "/subject")?;
        check_field("/subject", &subject)?;
        Ok(subject)
    }
}

/// Parts of one template, rendered one after the other with what fuel is left.
struct Rendering<'t> {
    /// Fuel is the environment's: it is set anew for each part, so this is one of our own. What is in it is shared, and a copy costs little.
    environment: Environment<'static>,
    context: &'t Value,
    left: u64,
}

impl<'t> Rendering<'t> {
    fn new(template: &Template, data: &'t Data, effort: Effort) -> Rendering<'t> {
        Rendering {
            environment: template.environment.clone(),
            context: &data.0,
            left: match effort {
                Effort::Quick => FUEL_QUICK,
                Effort::Full => FUEL_MAX,
            },
        }
    }

    fn part(&mut self, name: &str, pointer: &str) -> Result<String, RenderError> {
        self.environment.set_fuel(Some(self.left));
        let template = self.environment.get_template(name);
        let rendered = template.and_then(|t| t.render_captured(self.context.clone()));
        let rendered = rendered.map_err(|error| {
            let problem = problem(pointer, &error);
            match error.kind() {
                ErrorKind::OutOfFuel => RenderError::TooMuch(Problem {
                    reason: "it takes too long, or makes too much, with the parts before it".into(),
                    ..problem
                }),
                _ => RenderError::Wrong(problem),
            }
        })?;
        self.left = rendered.state().fuel_levels().map_or(0, |(_, left)| left);
        Ok(rendered.into_output())
    }
}

/// Nothing in a header field may end it, or be no text. RFC 5322 2.2.
fn check(rendered: &Rendered) -> Result<(), RenderError> {
    check_field("/subject", &rendered.subject)?;
    check_field("/to_name", &rendered.to_name)?;
    for (at, (_, value)) in rendered.headers.iter().enumerate() {
        check_field(&header_pointer(at), value)?;
    }
    for (pointer, text) in [("/text", &rendered.text), ("/html", &rendered.html)] {
        if text.contains('\0') {
            return wrong(pointer, "it came to text with a NUL character in it");
        }
        if text.len() > MADE_MAX {
            return wrong(pointer, "it came to more than 2 MiB");
        }
    }
    match rendered.text.trim().is_empty() && rendered.html.trim().is_empty() {
        true => wrong("/text", "it came to nothing, and so did HTML"),
        false => Ok(()),
    }
}

fn check_field(pointer: &str, text: &str) -> Result<(), RenderError> {
    match text {
        text if text.chars().any(char::is_control) => {
            wrong(pointer, "it came to text with a control character in it")
        }
        text if text.len() > FIELD_MAX => wrong(pointer, "it came to more than 4 KiB"),
        _ => Ok(()),
    }
}

fn wrong(pointer: &str, reason: &str) -> Result<(), RenderError> {
    Err(RenderError::Wrong(Problem {
        pointer: pointer.to_owned(),
        line: None,
        reason: reason.to_owned(),
    }))
}

/// What a recipient's variables are: his own, those of the batch where he has none, and `recipient`.
#[derive(Clone, Debug)]
pub struct Data(Value);

impl Data {
    /// Of JSON objects; empty: none.
    pub fn read(
        defaults: &Defaults,
        own: &str,
        (address, name): (&str, &str),
    ) -> Result<Data, String> {
        let own = object(own)?;
        let recipient = minijinja::context! {
            recipient => minijinja::context! { address => address, name => name },
        };
        // The last one counts: nobody else's data take its place.
        Ok(Data(merge_maps([defaults.0.clone(), own, recipient])))
    }

    /// Which of these names it has not.
    pub fn lacks<'n>(&self, names: impl IntoIterator<Item = &'n String>) -> Vec<&'n str> {
        let is_missing = |name: &&String| match self.0.get_attr(name) {
            Ok(value) => value.is_undefined(),
            Err(_) => true,
        };
        let missing = names.into_iter().filter(is_missing);
        missing.map(String::as_str).collect()
    }
}

/// What recipients' variables are where they have none of their own.
#[derive(Clone, Debug)]
pub struct Defaults(Value);

impl Defaults {
    /// Of a JSON object; empty: none.
    pub fn read(json: &str) -> Result<Defaults, String> {
        object(json).map(Defaults)
    }
}

fn object(json: &str) -> Result<Value, String> {
    if json.is_empty() {
        return Ok(Value::from(
            std::collections::BTreeMap::<String, Value>::new(),
        ));
    }
    let value: Value = serde_json::from_str(json).map_err(|e| e.to_string())?;
    match value.kind() {
        minijinja::value::ValueKind::Map => Ok(value),
        other => Err(format!("it is a {other}, and must be an object")),
    }
}

/// Its name in the environment, its pointer, its text.
fn fields(parts: &Parts) -> impl Iterator<Item = (String, String, &str)> {
    let single = [
        ("subject", &parts.subject),
        ("text", &parts.text),
        ("html", &parts.html),
        ("to_name", &parts.to_name),
    ];
    let single = single
        .into_iter()
        .map(|(name, text)| (name.to_owned(), format!("/{name}"), text.as_str()));
    let headers = parts.headers.iter().enumerate();
    single.chain(
        headers.map(|(at, (_, value))| (format!("header{at}"), header_pointer(at), value.as_str())),
    )
}

fn header_pointer(at: usize) -> String {
    format!("/headers/{at}/value")
}

fn bounds(parts: &Parts) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut tell = |pointer: &str, reason: String| {
        problems.push(Problem {
            pointer: pointer.to_owned(),
            line: None,
            reason,
        });
    };
    if parts.text.is_empty() && parts.html.is_empty() {
        tell(
            "/text",
            "at least one of text and HTML must be there".into(),
        );
    }
    for (_, pointer, text) in fields(parts) {
        let most = match pointer.as_str() {
            "/text" | "/html" => TEXT_MAX,
            _ => FIELD_MAX,
        };
        if text.len() > most {
            tell(&pointer, format!("more than {most} octets"));
        }
    }
    if parts.headers.len() > HEADERS_MAX {
        tell("/headers", format!("more than {HEADERS_MAX} fields"));
    }
    for (at, (name, _)) in parts.headers.iter().enumerate() {
        if !is_field_name(name) {
            let pointer = format!("/headers/{at}/name");
            tell(&pointer, format!("{name:?} is no name of a field"));
        }
    }
    problems
}

/// What the fuel does not pay for is refused by its words. No tag may have more than so many: what is read from one is nested as deep as it is long,
/// `a.b.c` or `1-1-1`, and the parser bounds the nesting of brackets alone. And no lists are made but of texts: those that have others in them, or
/// exist in name only (`a * 99999999`), can be made longer and deeper with each step (`[a, a]`), until something walks over them.
fn tags(pointer: &str, source: &str) -> Result<(), Problem> {
    let mut tag: Vec<Token<'_>> = Vec::new();
    for token in tokenize(source, false, SyntaxConfig::default()) {
        let (token, span) = token.map_err(|error| problem(pointer, &error))?;
        let wrong = |reason: String| Problem {
            pointer: pointer.to_owned(),
            line: Some(span.start_line as usize),
            reason,
        };
        match token {
            Token::VariableStart | Token::BlockStart => tag.clear(),
            Token::VariableEnd | Token::BlockEnd => look_at(&tag).map_err(wrong)?,
            Token::TemplateData(_) => (),
            _ if tag.len() == WORDS_MAX => {
                let reason = format!("more than {WORDS_MAX} words and signs in one tag");
                return Err(wrong(reason));
            }
            token => tag.push(token),
        }
    }
    // One without an end is the parser's to refuse.
    Ok(())
}

fn look_at(tag: &[Token<'_>]) -> Result<(), String> {
    let is_for = matches!(tag.first(), Some(Token::Ident("for")));
    let mut in_seen = false;
    // Of each bracket that is open: whether commas in it part arguments.
    let mut open: Vec<bool> = Vec::new();
    for (at, token) in tag.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| tag.get(at));
        // Something stands there whose part, or call, this is.
        let follows = match before {
            Some(Token::Ident(word)) => !KEYWORDS.contains(word),
            Some(Token::ParenClose | Token::BracketClose | Token::Str(_) | Token::String(_)) => {
                true
            }
            _ => false,
        };
        match token {
            Token::Mul | Token::Pow => return Err("write a|times(b) for a * b".into()),
            Token::Plus if !is_counting(tag, at) => {
                return Err("write a|plus(b) for a + b, and a ~ b for texts".into());
            }
            Token::ParenOpen => open.push(follows),
            Token::BracketOpen if follows => open.push(false),
            Token::BracketOpen | Token::BraceOpen | Token::Colon => {
                return Err("lists and objects come from the data alone".into());
            }
            Token::Comma => {
                let is_unpacking = open.is_empty() && is_for && !in_seen;
                if !is_unpacking && open.last() != Some(&true) {
                    return Err("lists and objects come from the data alone".into());
                }
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                open.pop();
            }
            Token::Ident("in") => in_seen = true,
            _ => (),
        }
    }
    Ok(())
}

/// Whether one side of a plus is a number for sure: then the other must be one.
fn is_counting(tag: &[Token<'_>], at: usize) -> bool {
    let token = |at: Option<usize>| at.and_then(|at| tag.get(at));
    let is_number = |at| matches!(token(at), Some(Token::Int(_) | Token::Float(_)));
    let is_part = matches!(token(at.checked_sub(2)), Some(Token::Dot));
    let goes_on = matches!(
        tag.get(at + 2),
        Some(Token::Pipe | Token::Dot | Token::BracketOpen | Token::ParenOpen)
    );
    is_number(at.checked_sub(1)) && !is_part || is_number(Some(at + 1)) && !goes_on
}

/// Of numbers alone.
fn arithmetic(
    whole: impl Fn(i64, i64) -> Option<i64> + Send + Sync + 'static,
    broken: impl Fn(f64, f64) -> f64 + Send + Sync + 'static,
) -> impl Fn(Value, Value) -> Result<Value, minijinja::Error> + Send + Sync + 'static {
    move |a, b| {
        if let (true, true) = (a.is_integer(), b.is_integer()) {
            let sum = i64::try_from(a).ok().zip(i64::try_from(b).ok());
            let sum = sum.and_then(|(a, b)| whole(a, b));
            return sum.map(Value::from).ok_or_else(|| {
                minijinja::Error::new(ErrorKind::InvalidOperation, "the number is too large")
            });
        }
        Ok(Value::from(broken(f64::try_from(a)?, f64::try_from(b)?)))
    }
}

/// The words of an error, without the chain of what caused it.
fn problem(pointer: &str, error: &minijinja::Error) -> Problem {
    let kind = error.kind();
    let mut reason = match error.detail() {
        Some(detail) => format!("{kind}: {detail}"),
        None => kind.to_string(),
    };
    if reason.len() > REASON_MAX {
        let end = (0..=REASON_MAX)
            .rev()
            .find(|at| reason.is_char_boundary(*at));
        reason.truncate(end.unwrap_or(0));
    }
    Problem {
        pointer: pointer.to_owned(),
        line: error.line(),
        reason: reason
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect(),
    }
}

/// What is always there: the recipient's `address` and `name`.
const RECIPIENT: &str = "recipient";
/// Octets of the text or the HTML of a template.
pub const TEXT_MAX: usize = 200 << 10;
/// Octets of any other text, as it was written and as it is rendered.
pub const FIELD_MAX: usize = 4 << 10;
/// Octets of a text or HTML as it is rendered.
const MADE_MAX: usize = 2 << 20;
/// Header fields of a template.
pub const HEADERS_MAX: usize = 20;
/// Words behind which a bracket begins something of its own.
const KEYWORDS: [&str; 11] = [
    "and", "else", "elif", "filter", "for", "if", "in", "is", "not", "or", "set",
];
/// What shows the engine, or makes objects: see [`tags`].
const WITHOUT_GLOBALS: [&str; 3] = ["debug", "dict", "namespace"];
/// What makes lists of lists, or lists in name only: see [`tags`].
const WITHOUT_FILTERS: [&str; 13] = [
    "batch",
    "chain",
    "groupby",
    "map",
    "pprint",
    "reject",
    "rejectattr",
    "reverse",
    "select",
    "selectattr",
    "slice",
    "sum",
    "zip",
];
/// Words and signs of one tag.
const WORDS_MAX: usize = 250;
/// How deep a loop may call itself.
const RECURSION_MAX: usize = 50;
/// What all parts of a message may take: an instruction costs one, and so do 64 octets. A usual text costs a few hundred.
const FUEL_MAX: u64 = 100_000;
/// The same where others wait.
const FUEL_QUICK: u64 = 4_000;
/// Octets of the words of an error.
const REASON_MAX: usize = 500;

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
