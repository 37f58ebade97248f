//! argv to `cli::run` to an exit code; nothing else.

fn main() -> std::process::ExitCode {
    alignd::cli::run(std::env::args_os())
}
