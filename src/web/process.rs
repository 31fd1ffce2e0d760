//! What the kernel says of this process, under the names every Prometheus dashboard knows. Blocking: runs in the pool.

use std::fmt::Write;
use std::fs;

/// The metrics as text; what can't be read is left out.
pub(super) fn metrics() -> String {
    let mut text = String::new();
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let stat = read("/proc/self/stat");
    let boot = field(&read("/proc/stat"), "btime ");
    if let Some(stat) = Stat::parse(&stat) {
        gauge(
            &mut text,
            "process_cpu_seconds_total",
            seconds(stat.cpu_ticks),
        );
        if let Some(boot) = boot {
            let start = boot as f64 + seconds(stat.start_ticks);
            gauge(&mut text, "process_start_time_seconds", start);
        }
        gauge(&mut text, "process_threads", stat.threads as f64);
    }
    let status = read("/proc/self/status");
    for (name, key) in [
        ("process_resident_memory_bytes", "VmRSS:"),
        ("process_resident_memory_max_bytes", "VmHWM:"),
        ("process_virtual_memory_bytes", "VmSize:"),
        ("process_locked_memory_bytes", "VmLck:"),
    ] {
        if let Some(kib) = field(&status, key) {
            gauge(&mut text, name, (kib * 1024) as f64);
        }
    }
    if let Ok(entries) = fs::read_dir("/proc/self/fd") {
        gauge(&mut text, "process_open_fds", entries.count() as f64);
    }
    if let Some(most) = field(&read("/proc/self/limits"), "Max open files") {
        gauge(&mut text, "process_max_fds", most as f64);
    }
    text
}

fn gauge(text: &mut String, name: &str, value: f64) {
    let kind = if name.ends_with("_total") {
        "counter"
    } else {
        "gauge"
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
}

/// The first number after `key` at the beginning of a line.
fn field(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// What is used of /proc/self/stat.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
}

impl Stat {
    /// proc_pid_stat(5). The name, second, may hold spaces and parentheses: fields are counted from the last `)`, which ends it.
    fn parse(text: &str) -> Option<Stat> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |position: usize| fields.get(position - 3)?.parse::<u64>().ok();
        Some(Stat {
            cpu_ticks: number(14)? + number(15)?,
            threads: number(20)?,
            start_ticks: number(22)?,
        })
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_SECOND
}

/// USER_HZ: 100 on every architecture we build for, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_after_the_name() {
        let text = "42 (ring) mail) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 7 0 12345 999 1";
        assert_eq!(
            Stat::parse(text),
            Some(Stat {
                cpu_ticks: 200,
                threads: 7,
                start_ticks: 12_345
            })
        );
        assert_eq!(Stat::parse("42 (ringmail) S 1"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn this_process_has_all_of_them() {
        let text = metrics();
        for name in [
            "process_cpu_seconds_total",
            "process_start_time_seconds",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_max_fds",
        ] {
            assert!(text.contains(&format!("\n{name} ")), "{name} in {text}");
        }
    }
}
