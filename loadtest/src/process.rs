//! What the server's processes have used: CPU time and memory of a process and all its descendants, from /proc.
//! proc(5). Descendants that ended and were waited for count too (cutime, cstime), as in servers of many processes.

use std::collections::HashMap;
use std::fs;

use crate::error::Failure;

/// Reading at one moment.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// CPU seconds, user and system.
    pub cpu_secs: f64,
    /// CPU seconds of each thread that lives, by process and thread.
    pub threads: HashMap<(u32, u32), (String, f64)>,
    /// Resident octets, summed over processes.
    pub resident: u64,
    /// Resident octets where shared pages are divided by their users; `None` without the right to see them.
    pub proportional: Option<u64>,
    /// Highest resident octets of each process, summed.
    pub peak: u64,
}

impl Reading {
    /// CPU seconds of all threads that live, finer than `cpu_secs`.
    pub fn threads_secs(&self) -> f64 {
        self.threads.values().map(|thread| thread.1).sum()
    }
}

/// Finds the process that `text` names: a number, or a command's name that one process tree has.
pub fn find(text: &str) -> Result<u32, Failure> {
    if let Ok(pid) = text.parse() {
        let there = stat(&format!("/proc/{pid}/stat")).is_some();
        return if there {
            Ok(pid)
        } else {
            Err(Failure::Usage(format!("no process {pid}")))
        };
    }
    let all: HashMap<u32, Stat> = processes().collect();
    let named = |pid: &u32| all.get(pid).is_some_and(|stat| stat.command == text);
    let roots: Vec<u32> = all
        .iter()
        .filter(|(pid, stat)| named(pid) && !named(&stat.parent))
        .map(|(&pid, _)| pid)
        .collect();
    match roots.as_slice() {
        [pid] => Ok(*pid),
        [] => Err(Failure::Usage(format!("no process is called {text}"))),
        many => Err(Failure::Usage(format!(
            "several processes are called {text}, name one: {many:?}"
        ))),
    }
}

/// Lets the kernel count peaks anew, where we may.
pub fn reset_peak(root: u32) {
    for pid in tree(root) {
        // proc(5): 5 resets VmHWM. Without leave the peak is that since the process started.
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// Reads the whole tree.
pub fn read(root: u32) -> Reading {
    let mut reading = Reading {
        proportional: Some(0),
        ..Reading::default()
    };
    for pid in tree(root) {
        let Some(stat) = stat(&format!("/proc/{pid}/stat")) else {
            continue;
        };
        reading.cpu_secs += stat.own_secs + stat.children_secs;
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        reading.resident += kibibytes(&status, "VmRSS:").unwrap_or(0);
        reading.peak += kibibytes(&status, "VmHWM:").unwrap_or(0);
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let share = rollup.ok().and_then(|text| kibibytes(&text, "Pss:"));
        reading.proportional = reading.proportional.zip(share).map(|(sum, it)| sum + it);
        threads(pid, &mut reading);
    }
    reading
}

fn threads(pid: u32, reading: &mut Reading) {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let thread = entry.file_name().to_string_lossy().parse().unwrap_or(0);
        if let Some(stat) = stat(&path.join("stat").to_string_lossy()) {
            // Nanoseconds, where the kernel tells them.
            let nanos = fs::read_to_string(path.join("schedstat"))
                .ok()
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
            let secs = nanos.map_or(stat.own_secs, |nanos| nanos as f64 / 1e9);
            reading.threads.insert((pid, thread), (stat.command, secs));
        }
    }
}

struct Stat {
    command: String,
    parent: u32,
    own_secs: f64,
    children_secs: f64,
}

/// Fields 2, 4, 14 to 17. The command stands in parentheses and may hold anything.
fn stat(path: &str) -> Option<Stat> {
    let text = fs::read_to_string(path).ok()?;
    let open = text.find('(')?;
    let close = text.rfind(')')?;
    let fields: Vec<&str> = text[close + 1..].split_whitespace().collect();
    let secs = |at: usize| Some(fields.get(at)?.parse::<f64>().ok()? / TICKS_PER_SEC);
    Some(Stat {
        command: text[open + 1..close].to_owned(),
        parent: fields.get(1)?.parse().ok()?,
        own_secs: secs(11)? + secs(12)?,
        children_secs: secs(13)? + secs(14)?,
    })
}

fn processes() -> impl Iterator<Item = (u32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        Some((pid, stat(&format!("/proc/{pid}/stat"))?))
    })
}

/// The process and all below it.
fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for (pid, stat) in processes() {
        children.entry(stat.parent).or_default().push(pid);
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(pid) = found.get(at) {
        found.extend(children.remove(pid).unwrap_or_default());
        at += 1;
    }
    found
}

/// `Name:   123 kB`, in octets.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number * 1024)
}

/// USER_HZ, which Linux has fixed at 100 for what it shows in /proc.
const TICKS_PER_SEC: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found_and_read() {
        let own = std::process::id();
        assert_eq!(find(&own.to_string()).unwrap(), own);
        let reading = read(own);
        assert!(reading.resident > 0 && reading.peak >= reading.resident / 2);
        assert!(!reading.threads.is_empty());
        assert!(find("no such command").is_err());
    }
}
