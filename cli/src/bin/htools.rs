//! `htools`: the placement tools by the name they are called with; see the library.

fn main() -> std::process::ExitCode {
    roost_cli::main()
}
