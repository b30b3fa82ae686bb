//! A process with everything that it has started.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
#[cfg(target_os = "linux")]
use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::ErrorKind,
    process::ExitStatus,
};
use tokio::process::Child;

/// A process with all that it has started, ended when dropped.
pub struct ProcessTree {
    root: Option<Child>,
    own_group: bool,
}

impl ProcessTree {
    /// `own_group`: the process leads a process group of its own.
    pub fn new(root: Child, own_group: bool) -> Self {
        Self { root: Some(root), own_group }
    }

    /// Waits until the process has ended. What it leaves behind goes on.
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        let Some(child) = &mut self.root else { return Err(ErrorKind::NotFound.into()) };
        let status = child.wait().await?;
        self.root = None;
        Ok(status)
    }
}

impl Drop for ProcessTree {
    fn drop(&mut self) {
        // A process that was waited for has no id any more.
        let root = self.root.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        let Some(root) = root else { return };
        let (mut held, mut stopped) = (BTreeMap::new(), BTreeSet::new());
        // A stopped process starts nothing more, so most often the third look finds nothing new. A process that ends
        // meanwhile may leave its number to a stranger: each one is held first, and signalled only once another look has
        // shown it to be one of the tree.
        for _ in 0..16 {
            let found = descendants(root);
            let sure: Vec<i32> = found.iter().copied().filter(|pid| *pid == root || held.contains_key(pid)).collect();
            for pid in sure.iter().filter(|pid| stopped.insert(**pid)) {
                held.entry(*pid).or_insert_with(|| Held::of(*pid)).send(Signal::STOP);
            }
            let new: Vec<i32> = found.into_iter().filter(|pid| !held.contains_key(pid)).collect();
            if new.is_empty() {
                break;
            }
            held.extend(new.into_iter().map(|pid| (pid, Held::of(pid))));
        }
        if self.own_group
            && let Some(group) = Pid::from_raw(root)
        {
            kill_process_group(group, Signal::KILL).ok();
        }
        for pid in stopped {
            if let Some(process) = held.get(&pid) {
                process.send(Signal::KILL);
            }
        }
    }
}

/// A process; on Linux by a handle, so that no signal reaches another process which has got its number.
struct Held {
    pid: i32,
    #[cfg(target_os = "linux")]
    process: Option<OwnedFd>,
}

impl Held {
    fn of(pid: i32) -> Self {
        Self {
            pid,
            #[cfg(target_os = "linux")]
            process: Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()),
        }
    }

    /// Fails only for a process that has just ended.
    #[cfg(target_os = "linux")]
    fn send(&self, signal: Signal) {
        match &self.process {
            Some(process) => {
                pidfd_send_signal(process, signal).ok();
            }
            // Without process handles (a filter for system calls, a very old kernel) the number has to do. With them, a
            // missing handle means that the process has ended.
            None if has_process_handles() => {}
            None => send(self.pid, signal),
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn send(&self, signal: Signal) {
        send(self.pid, signal);
    }
}

/// True if this process can hold a process: itself, as a trial.
#[cfg(target_os = "linux")]
fn has_process_handles() -> bool {
    pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).is_ok()
}

/// Fails only for a process that has just ended.
fn send(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        kill_process(pid, signal).ok();
    }
}

/// A process and everything under it.
fn descendants(root: i32) -> BTreeSet<i32> {
    let parents = parents();
    let mut found = BTreeSet::from([root]);
    loop {
        let under = parents.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid);
        let new: Vec<i32> = under.filter(|pid| !found.contains(pid)).collect();
        if new.is_empty() {
            return found;
        }
        found.extend(new);
    }
}

/// The parent of each process (proc_pid_stat(5); elsewhere than on Linux, as ps(1) tells).
fn parents() -> BTreeMap<i32, i32> {
    let of_stat = |text: String| {
        // The name stands in parentheses and may hold anything.
        let (front, rest) = text.rsplit_once(')')?;
        let pid = front.split(' ').next()?.parse().ok()?;
        Some((pid, rest.split_whitespace().nth(1)?.parse().ok()?))
    };
    if let Ok(entries) = fs::read_dir("/proc") {
        let stats = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok());
        let found: BTreeMap<i32, i32> = stats.filter_map(of_stat).collect();
        if !found.is_empty() {
            return found;
        }
    }
    let listed = std::process::Command::new("ps").args(["-A", "-o", "pid=", "-o", "ppid="]).output();
    let listed = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let pair = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    listed.lines().filter_map(pair).collect()
}
