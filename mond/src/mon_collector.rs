//! `mon-collector`: see `command`.

fn main() -> std::process::ExitCode {
    roost_mond::command::main()
}
