//! Writes the golden vectors into `vectors/`. They depend on nothing but the seed named in
//! `draw.rs`, so writing them again changes no byte.

mod chain;
mod completeness;
mod details;
mod draw;
mod files;
mod leaves;
mod negative;
mod receipts;
mod refused;
mod trees;

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    for (name, text) in files::all() {
        fs::write(folder.join(name), &text)?;
        println!("{name}: {} bytes", text.len());
    }
    Ok(())
}
