//! Runs the binary and keeps what came out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// What a run of the binary left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A directory for the files of one test, with settings that name no host of this machine.
pub struct Place(TempDir);

/// The settings of a place: everything inside it.
const SETTINGS: &str = "\
[identity]
authserv_id = \"mx.example.org\"
[control]
socket = \"{}/control.sock\"
[milter]
listen = [\"unix:{}/milter.sock\"]
socket_group = \"\"
socket_mode = \"0666\"
[store]
path = \"{}/store\"
";

pub fn alignd<S: AsRef<str>>(arguments: &[S]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_alignd"));
    command.args(arguments.iter().map(AsRef::as_ref));
    ran(command.output().expect("the binary runs"))
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).expect("UTF-8 on standard output"),
        err: String::from_utf8(output.stderr).expect("UTF-8 on standard error"),
    }
}

impl Ran {
    /// The JSON objects on standard output, one a line.
    pub fn json(&self) -> Vec<serde_json::Value> {
        let lines = self.out.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }
}

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        std::fs::create_dir(place.path("store")).expect("a directory");
        place.write("alignd.toml", SETTINGS);
        place
    }

    /// The names of the files in a directory of it, the shortest first.
    pub fn names(&self, directory: &str) -> Vec<String> {
        let files = std::fs::read_dir(self.path(directory)).expect("lists");
        let names = files.map(|file| file.expect("a file").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort_by_key(String::len);
        names
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file; `{}` in it becomes the directory.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text.replace("{}", &self.root())).expect("a file");
        shown(&path)
    }

    pub fn root(&self) -> String {
        shown(self.0.path())
    }

    /// The same with something on standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let file = self.write("input", input);
        let mut command = Command::new(env!("CARGO_BIN_EXE_alignd"));
        command.arg("--config").arg(self.path("alignd.toml"));
        command.args(arguments);
        command.stdin(std::fs::File::open(file).expect("our own file"));
        ran(command.output().expect("the binary runs"))
    }

    /// Runs the binary with this place's settings. `{}` in an argument becomes the directory.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let root = self.root();
        let arguments = arguments.iter().map(|a| a.replace("{}", &root));
        let mut all = vec!["--config".to_owned(), shown(&self.path("alignd.toml"))];
        all.extend(arguments);
        alignd(&all)
    }
}

fn shown(path: &Path) -> String {
    path.to_str().expect("a UTF-8 path").to_owned()
}
