//! Runs one program.

use super::tree::ProcessTree;
use std::{
    collections::VecDeque,
    io,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{ChildStdin, Command},
    time::timeout,
};

/// Programs are run with these variables, and with what the caller adds. Nothing of the user's environment gets in.
const FIXED: [(&str, &str); 2] =
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")];
/// The most bytes of a complaint that are kept: its end, which says why.
const COMPLAINT_BYTES: usize = 2048;
/// The longest to read what a program has written, once it has ended. Only a process that it has left behind, with the
/// same pipe, makes `eg` wait so long.
const REST: Duration = Duration::from_secs(1);

/// A program, and the bounds of its run. It gets no terminal, and a process group of its own.
pub struct Program<'a> {
    /// An absolute path.
    pub path: &'a Path,
    pub args: Vec<String>,
    pub env: Vec<(&'static str, String)>,
    pub input: Option<String>,
    /// The most bytes of output that are kept.
    pub output_bytes: usize,
    pub time: Duration,
}

/// How a program ended.
#[derive(Debug)]
pub enum Ran {
    /// It was not started: nothing has happened.
    NotStarted(io::Error),
    /// It was ended because its time was up, with everything that it had started.
    TimedOut { complaint: String },
    /// It was started, and the system does not tell how it ended.
    Lost(io::Error),
    Ended {
        status: ExitStatus,
        output: Vec<u8>,
        /// True if there was more output than is kept.
        cut: bool,
        /// The end of what it wrote to stderr.
        complaint: String,
    },
}

impl Ran {
    /// An unsuccessful end in words; `None` if it ended with status 0.
    pub fn trouble(&self, time: Duration) -> Option<String> {
        let (what, complaint) = match self {
            Self::NotStarted(error) => (format!("cannot be run: {error}"), ""),
            Self::TimedOut { complaint } => (format!("did not end within {time:?} and was ended"), complaint.as_str()),
            Self::Lost(error) => (format!("was lost: {error}"), ""),
            Self::Ended { status, .. } if status.success() => return None,
            Self::Ended { status, complaint, .. } => {
                let ended = match (status.code(), status.signal()) {
                    (Some(code), _) => format!("ended with status {code}"),
                    (None, Some(signal)) => format!("was ended by signal {signal}"),
                    (None, None) => "failed".to_owned(),
                };
                (ended, complaint.as_str())
            }
        };
        Some(if complaint.is_empty() { what } else { format!("{what}: {complaint}") })
    }
}

impl Program<'_> {
    /// Runs the program to its end. If the caller stops waiting, it is ended as well.
    pub async fn run(self) -> Ran {
        let mut command = Command::new(self.path);
        command
            .args(&self.args)
            .current_dir("/")
            .env_clear()
            .envs(FIXED)
            .envs(self.env.iter().cloned())
            .process_group(0);
        let input = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let spawned = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => return Ran::NotStarted(error),
        };
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let mut tree = ProcessTree::new(child, true);
        let (mut output, mut complaint) = (Kept::start(self.output_bytes), Kept::end(COMPLAINT_BYTES));
        let mut drained = false;
        let ended = {
            let reading = async { tokio::join!(keep(stdout, &mut output), keep(stderr, &mut complaint)) };
            let writing = write(stdin, self.input.unwrap_or_default());
            let mut streams = std::pin::pin!(async { tokio::join!(reading, writing) });
            let ended = timeout(self.time, async {
                tokio::select! {
                    ended = tree.ended() => ended,
                    _ = &mut streams => {
                        drained = true;
                        // All pipes are closed, and the program may still be at work.
                        tree.ended().await
                    }
                }
            });
            let ended = ended.await;
            if ended.is_ok() && !drained {
                timeout(REST, streams).await.ok();
            }
            ended
        };
        drop(tree);
        let complaint = complaint.text();
        match ended {
            Ok(Ok(status)) => Ran::Ended { status, cut: output.cut, output: output.bytes.into(), complaint },
            Ok(Err(error)) => Ran::Lost(error),
            Err(_) => Ran::TimedOut { complaint },
        }
    }
}

/// The start, or the end, of what a program writes.
struct Kept {
    bytes: VecDeque<u8>,
    most: usize,
    end: bool,
    cut: bool,
}

impl Kept {
    fn start(most: usize) -> Self {
        Self { bytes: VecDeque::new(), most, end: false, cut: false }
    }

    fn end(most: usize) -> Self {
        Self { end: true, ..Self::start(most) }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.cut |= self.bytes.len() + bytes.len() > self.most;
        if self.end {
            self.bytes.extend(bytes);
            self.bytes.drain(..self.bytes.len().saturating_sub(self.most));
        } else {
            self.bytes.extend(bytes.iter().take(self.most - self.bytes.len()));
        }
    }

    fn text(self) -> String {
        let bytes: Vec<u8> = self.bytes.into();
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim();
        if self.cut { format!("…{text}") } else { text.to_owned() }
    }
}

/// Reads to the end, so that the program is never blocked, and keeps some of it.
async fn keep(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Kept) {
    let Some(mut pipe) = pipe else { return };
    let mut bytes = vec![0; 8192];
    // A pipe that cannot be read has no more to say.
    while let Ok(count @ 1..) = pipe.read(&mut bytes).await {
        kept.add(bytes.get(..count).unwrap_or_default());
    }
}

/// Writes the whole input. A program that does not read all of it tells by its status whether it needed to.
async fn write(pipe: Option<ChildStdin>, input: String) {
    if let Some(mut pipe) = pipe {
        pipe.write_all(input.as_bytes()).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHELL: &str = "/bin/sh";

    async fn shell(script: &str, time: Duration) -> Ran {
        let program = Program {
            path: Path::new(SHELL),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: vec![("EG_TEST", "a b".to_owned())],
            input: Some("hello\n".to_owned()),
            output_bytes: 64,
            time,
        };
        program.run().await
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_program_has_its_input_and_a_clean_environment() {
        let Ran::Ended { output, cut, .. } = shell("read word; echo $word; export -p", LONG).await else { panic!() };
        let output = String::from_utf8(output).unwrap();
        assert!(output.starts_with("hello\nexport EG_TEST='a b'\n"), "{output}");
        assert!(cut, "the rest of its output is not kept");
    }

    #[tokio::test]
    async fn how_it_ended_is_said() {
        for (script, expected) in [
            ("true", None),
            ("exit 3", Some("ended with status 3")),
            ("echo out; echo locked >&2; exit 3", Some("ended with status 3: locked")),
            ("kill -9 $$", Some("was ended by signal 9")),
        ] {
            assert_eq!(shell(script, LONG).await.trouble(LONG).as_deref(), expected, "{script}");
        }
        let missing = Program {
            path: Path::new("/nonexistent/program"),
            args: Vec::new(),
            env: Vec::new(),
            input: None,
            output_bytes: 1,
            time: LONG,
        };
        let trouble = missing.run().await.trouble(LONG);
        assert_eq!(trouble.as_deref(), Some("cannot be run: No such file or directory (os error 2)"));
    }

    #[tokio::test]
    async fn megabytes_are_read_and_not_kept() {
        let ran =
            shell("head -c 5000000 /dev/zero; head -c 5000000 /dev/zero | tr '\\0' x >&2; echo end >&2", LONG).await;
        let Ran::Ended { status, output, cut, complaint } = ran else { panic!() };
        assert!(status.success() && cut);
        assert_eq!(output.len(), 64);
        assert!(complaint.starts_with("…xxx") && complaint.ends_with("xend") && complaint.len() <= COMPLAINT_BYTES + 4);
    }

    /// The shell ends at once; the process that it leaves behind keeps the pipes open, and is not waited for.
    #[tokio::test]
    async fn a_child_that_keeps_the_pipe_open_is_not_waited_for() {
        let begun = std::time::Instant::now();
        let ran = shell("sleep 60 & echo $!", LONG).await;
        let Ran::Ended { status, output, .. } = ran else { panic!() };
        assert!(status.success() && begun.elapsed() < LONG);
        let left = String::from_utf8(output).unwrap().trim().parse().ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(left.unwrap(), rustix::process::Signal::KILL).unwrap();
    }

    /// Its time is up: it is ended, and so is everything that it has started, in whichever process group.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_program_that_hangs_is_ended_with_its_children() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pids");
        let script = format!("echo $$ > {0}; setsid sleep 60 & echo $! >> {0}; echo waiting >&2; wait", file.display());
        // Long enough for the shell to write; as long as that fails, a longer time is tried.
        for time in [1, 4, 16] {
            let ran = shell(&script, Duration::from_secs(time)).await;
            let expected = format!("did not end within {time}s and was ended: waiting");
            let pids = std::fs::read_to_string(&file).unwrap_or_default();
            if ran.trouble(Duration::from_secs(time)) != Some(expected) || pids.lines().count() != 2 {
                continue;
            }
            // A process that was killed and not yet collected by init is a zombie.
            let alive = |pid: &str| {
                let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
            };
            for pid in pids.lines() {
                let begun = std::time::Instant::now();
                while alive(pid) {
                    assert!(begun.elapsed() < LONG, "{pid} is still there");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
            return;
        }
        panic!("the script never ran");
    }
}
