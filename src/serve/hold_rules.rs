//! Hold rules of the queue, on all shards and cores: every shard has the same row, so that one that is out of service takes no rule along.

use shards::CoreId;

use super::Server;
use crate::calls::{Answer, Call, ControlAnswer, ControlCall};
use crate::queue::HoldRules;

impl Server {
    /// The rules as they are stored: the latest that any shard has.
    pub fn hold_rules(&self) -> Result<HoldRules, String> {
        let mut latest: Option<HoldRules> = None;
        let mut failed = Vec::new();
        for shard in 0..self.shards() {
            match self.about_rules(self.owner_of_shard(shard), ControlCall::HoldRules { shard }) {
                Ok(ControlAnswer::HoldRules(rules)) => {
                    if latest
                        .as_ref()
                        .is_none_or(|l| l.changes() < rules.changes())
                    {
                        latest = Some(*rules);
                    }
                }
                Ok(_) => failed.push("a core gave an answer to another question".into()),
                Err(error) => failed.push(error),
            }
        }
        latest.ok_or_else(|| failed.join("; "))
    }

    /// Stores rules in every shard. An error if none has them; those that are out of service are told of by their own.
    pub fn store_hold_rules(&self, rules: &HoldRules) -> Result<(), String> {
        let failed: Vec<String> = (0..self.shards())
            .filter_map(|shard| {
                let rules = Box::new(rules.clone());
                let write = ControlCall::WriteHoldRules { shard, rules };
                self.about_rules(self.owner_of_shard(shard), write).err()
            })
            .collect();
        match failed.len() < usize::from(self.shards()) {
            true => Ok(()),
            false => Err(failed.join("; ")),
        }
    }

    /// Puts rules in force: what is accepted from now on is held by them, and what was accepted before is found in the rows then, unless
    /// nothing was (`settle`). All cores are told, whatever one answers.
    pub fn use_hold_rules(&self, rules: &HoldRules, settle: bool) -> Result<(), String> {
        let failed: Vec<String> = (0..self.cores())
            .filter_map(|core| {
                let rules = Box::new(rules.clone());
                let call = ControlCall::UseHoldRules { rules, settle };
                let error = self.about_rules(CoreId(core), call).err()?;
                Some(format!("core {core}: {error}"))
            })
            .collect();
        match failed.is_empty() {
            true => Ok(()),
            false => Err(failed.join("; ")),
        }
    }

    /// At the start, before anything is accepted.
    pub(super) fn begin_to_hold(&self) -> Result<(), String> {
        let rules = self.hold_rules().unwrap_or_else(|error| {
            tracing::error!(error, "the hold rules can't be read: all new mail for other hosts is held until they can, and the server is started again");
            HoldRules::unknown()
        });
        self.use_hold_rules(&rules, false)
            .map_err(|error| format!("the hold rules are not in force: {error}"))
    }

    fn about_rules(&self, core: CoreId, call: ControlCall) -> Result<ControlAnswer, String> {
        match self.call(core, Call::Control(Box::new(call))) {
            Ok(Answer::Control(answer)) => answer.map_err(|e| e.to_string()),
            Ok(_) => Err("a core gave an answer to another question".into()),
            Err(error) => Err(error.to_string()),
        }
    }
}
