//! The `counterfoil` program: [`counterfoil::cli`] is all of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    counterfoil::cli::main()
}
