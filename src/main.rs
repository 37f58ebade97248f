//! argv to `cli::run` to an exit code; nothing else.

fn main() {}
