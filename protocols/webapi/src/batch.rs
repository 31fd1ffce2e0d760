//! One template for many recipients: what is asked for, and whether it holds, before anything is promised.
//!
//! Called where a batch is accepted. What is asked is untrusted; whoever read it has bounded its octets. All that can be found wrong is told at once, with
//! the place in the request; what cannot be known before the data are put in, later fails its recipient alone.
//! Not here: JSON, whom a client may send as, the queue.

use std::collections::{BTreeMap, BTreeSet};

use smtp::Address;

use crate::template::{Data, Defaults, Effort, Parts, Problem, Rendered, Template};
use crate::types::{File, NameAddress};

/// What to send to whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchRequest {
    /// What the client calls it; may be empty.
    pub name: String,
    /// None: the account, and the address of the login.
    pub from: Option<NameAddress>,
    /// Where answers go.
    pub reply_to: Vec<NameAddress>,
    /// The texts.
    pub template: Parts,
    /// Variables of recipients who have none of their own: a JSON object; empty: none.
    pub defaults: String,
    /// To whom.
    pub recipients: Vec<BatchRecipient>,
    /// Not before this, seconds since 1970.
    pub not_before: Option<i64>,
    /// True: only by hosts that keep to REQUIRETLS (RFC 8689); false: whatever the receiver demands of TLS.
    pub require_tls: Option<bool>,
    /// What is kept with each message, and told with its events.
    pub extra: BTreeMap<String, String>,
    /// Each recipient gets a link by which to unsubscribe.
    pub unsubscribe: bool,
    /// What the HTML of each shows.
    pub inline_files: Vec<File>,
    /// What goes with each.
    pub attached_files: Vec<File>,
}

/// A recipient, and what is put into the template for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BatchRecipient {
    /// Its address.
    pub address: String,
    /// Its name; empty: the template may say it.
    pub name: String,
    /// A JSON object; empty: none.
    pub data: String,
}

/// A batch that was found sound.
pub struct Checked {
    /// The texts.
    pub template: Template,
    /// Variables of recipients who have none of their own.
    pub defaults: Defaults,
    /// The recipients' addresses, in their order.
    pub addresses: Vec<String>,
    /// An address has a local-part beyond ASCII. RFC 6531.
    pub smtputf8: bool,
    /// What the template comes to for the first recipient.
    pub first: Rendered,
}

impl BatchRequest {
    /// Octets of it, about.
    pub fn octets(&self) -> usize {
        let parts = &self.template;
        let texts = [&parts.subject, &parts.text, &parts.html, &self.defaults];
        let recipients = self.recipients.iter();
        let recipients = recipients.map(|r| r.address.len() + r.name.len() + r.data.len());
        texts.iter().map(|t| t.len()).sum::<usize>() + recipients.sum::<usize>()
    }

    /// Whether it holds; the first mistakes, if it does not.
    pub fn check(&self, author: &str) -> Result<Checked, Vec<Problem>> {
        let mut wrong = Wrong::default();
        let mut smtputf8 = false;
        let mut address =
            |wrong: &mut Wrong, pointer: String, text: &str| match text.parse::<Address>() {
                Ok(address) => {
                    smtputf8 |= !address.localpart.as_str().is_ascii();
                    Some(address.to_string())
                }
                Err(error) => {
                    wrong.tell(pointer, format!("{text:?} is no address: {error}"));
                    None
                }
            };
        let from = self.from.as_ref().map_or(author, |from| &from.address);
        address(&mut wrong, "/from/address".into(), from);
        for (at, named) in self.reply_to.iter().enumerate() {
            let pointer = format!("/reply_to/{at}/address");
            address(&mut wrong, pointer, &named.address);
        }
        if self.recipients.is_empty() {
            wrong.tell("/recipients".into(), "there are none".into());
        }
        let mut addresses = Vec::with_capacity(self.recipients.len());
        for (at, recipient) in self.recipients.iter().enumerate() {
            let pointer = || format!("/recipients/{at}/address");
            // Without the text of a pointer for each of ten thousand.
            match recipient.address.parse::<Address>() {
                Ok(parsed) => {
                    smtputf8 |= !parsed.localpart.as_str().is_ascii();
                    addresses.push(parsed.to_string());
                }
                Err(error) => {
                    let text = &recipient.address;
                    wrong.tell(pointer(), format!("{text:?} is no address: {error}"));
                }
            }
            for (field, text, most) in [
                ("name", &recipient.name, NAME_MAX),
                ("data", &recipient.data, DATA_MAX),
            ] {
                if text.len() > most {
                    let pointer = format!("/recipients/{at}/{field}");
                    wrong.tell(pointer, format!("more than {most} octets"));
                }
            }
            if recipient.name.chars().any(char::is_control) {
                let pointer = format!("/recipients/{at}/name");
                wrong.tell(pointer, "it has a control character in it".into());
            }
            if wrong.is_enough() {
                break;
            }
        }
        if self.name.len() > NAME_MAX || self.name.chars().any(char::is_control) {
            let reason = format!("more than {NAME_MAX} octets, or a control character in it");
            wrong.tell("/name".into(), reason);
        }
        // Its length first: what is read of it may take thirty times as much memory.
        let defaults = match self.defaults.len() > DATA_MAX {
            true => Err(format!("more than {DATA_MAX} octets")),
            false => Defaults::read(&self.defaults),
        };
        if let Err(reason) = &defaults {
            wrong.tell("/defaults".into(), reason.clone());
        }
        let template = Template::check(&self.template);
        if let Err(problems) = &template {
            for problem in problems {
                wrong.add(problem.clone(), "/template");
            }
        }
        let (Ok(defaults), Ok(template), true) = (defaults, template, wrong.list.is_empty()) else {
            return Err(wrong.list);
        };
        match self.fit(&template, &defaults) {
            Ok(first) => Ok(Checked {
                template,
                defaults,
                addresses,
                smtputf8,
                first,
            }),
            Err(list) => Err(list),
        }
    }

    /// Whether the template fits the recipients: it is rendered for the first one, and for one of those that lack the same variables. What it comes to for
    /// the first.
    fn fit(&self, template: &Template, defaults: &Defaults) -> Result<Rendered, Vec<Problem>> {
        let mut wrong = Wrong::default();
        let mut first = None;
        // Which variables are lacking, and what is wrong then.
        let mut lacking: BTreeMap<BTreeSet<&str>, Option<Problem>> = BTreeMap::new();
        for (at, recipient) in self.recipients.iter().enumerate() {
            let of = (recipient.address.as_str(), recipient.name.as_str());
            let data = match Data::read(defaults, &recipient.data, of) {
                Ok(data) => data,
                Err(reason) => {
                    wrong.tell(format!("/recipients/{at}/data"), reason);
                    if wrong.is_enough() {
                        break;
                    }
                    continue;
                }
            };
            let lacks: BTreeSet<&str> = data.lacks(template.variables()).into_iter().collect();
            if at > 0 && lacks.is_empty() {
                continue;
            }
            let known = match lacking.get(&lacks) {
                Some(known) if at > 0 => known.clone(),
                _ if lacking.len() > LACKING_MAX => None,
                _ => {
                    let rendered = template.render(&data, Effort::Full);
                    let (rendered, problem) = match rendered {
                        Ok(rendered) => (Some(rendered), None),
                        Err(error) => (None, Some(error.into_problem())),
                    };
                    if at == 0 {
                        first = rendered;
                    }
                    lacking.insert(lacks, problem.clone());
                    problem
                }
            };
            if let Some(problem) = known {
                let reason = format!("{} (with the data of /recipients/{at})", problem.reason);
                wrong.add(Problem { reason, ..problem }, "/template");
            }
            if wrong.is_enough() {
                break;
            }
        }
        match first {
            Some(first) if wrong.list.is_empty() => Ok(first),
            _ => Err(wrong.list),
        }
    }
}

/// What was found wrong, up to a bound.
#[derive(Default)]
struct Wrong {
    list: Vec<Problem>,
}

impl Wrong {
    fn tell(&mut self, pointer: String, reason: String) {
        let line = None;
        self.list.push(Problem {
            pointer,
            line,
            reason,
        });
    }

    fn add(&mut self, problem: Problem, within: &str) {
        self.list.push(Problem {
            pointer: format!("{within}{}", problem.pointer),
            ..problem
        });
    }

    fn is_enough(&self) -> bool {
        self.list.len() >= PROBLEMS_MAX
    }
}

/// Mistakes that are told at once.
pub const PROBLEMS_MAX: usize = 20;
/// Octets of a name.
pub const NAME_MAX: usize = 500;
/// Octets of a recipient's data.
pub const DATA_MAX: usize = 64 << 10;
/// Sets of variables that recipients may lack for which it is tried whether that matters.
const LACKING_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn request(count: usize) -> BatchRequest {
        BatchRequest {
            template: Parts {
                subject: "Hi {{ first }}".into(),
                text: "{{ shop }}{% if nick is defined %}, {{ nick }}{% endif %}".into(),
                ..Parts::default()
            },
            defaults: r#"{"shop": "Corner"}"#.into(),
            recipients: (0..count)
                .map(|at| BatchRecipient {
                    address: format!("r{at}@example.net"),
                    data: format!(r#"{{"first": "F{at}"}}"#),
                    ..BatchRecipient::default()
                })
                .collect(),
            ..BatchRequest::default()
        }
    }

    fn pointers(request: &BatchRequest) -> Vec<String> {
        let problems = match request.check("me@example.org") {
            Ok(_) => Vec::new(),
            Err(problems) => problems,
        };
        problems.into_iter().map(|p| p.pointer).collect()
    }

    #[test]
    fn a_batch_that_holds_is_rendered_for_its_first_recipient() {
        let checked = request(3).check("me@example.org").ok().unwrap();
        assert_eq!(checked.first.subject, "Hi F0");
        assert_eq!(checked.first.text, "Corner");
        assert_eq!(checked.addresses.len(), 3);
        assert!(!checked.smtputf8);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let mut wrong = request(3);
        wrong.from = Some(NameAddress {
            address: "nobody".into(),
            ..NameAddress::default()
        });
        wrong.recipients[1].address = "x".into();
        wrong.recipients[2].name = "a\nb".into();
        wrong.template.subject = "{{ x".into();
        wrong.defaults = "[]".into();
        assert_eq!(
            pointers(&wrong),
            [
                "/from/address",
                "/recipients/1/address",
                "/recipients/2/name",
                "/defaults",
                "/template/subject"
            ]
        );
        let mut wrong = request(4);
        wrong.recipients[2].data = "{}".into();
        wrong.recipients[3].data = "7".into();
        assert_eq!(
            pointers(&wrong),
            ["/template/subject", "/recipients/3/data"]
        );
        let Err(problems) = wrong.check("me@example.org") else {
            panic!("it is wrong");
        };
        assert!(problems[0].reason.contains("/recipients/2"), "{problems:?}");
        assert_eq!(pointers(&request(0)), ["/recipients"]);
    }

    #[test]
    fn the_first_mistakes_are_told() {
        let mut wrong = request(1_000);
        for recipient in &mut wrong.recipients {
            recipient.address.clear();
        }
        assert_eq!(pointers(&wrong).len(), PROBLEMS_MAX);
        let mut wrong = request(1_000);
        for recipient in &mut wrong.recipients {
            recipient.data.clear();
        }
        assert_eq!(pointers(&wrong).len(), PROBLEMS_MAX);
    }
}
