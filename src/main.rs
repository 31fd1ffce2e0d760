//! The program: hands its arguments to `cli`.

fn main() -> std::process::ExitCode {
    ringmail::cli::main(std::env::args_os())
}
