//! Two builds of MeMS in one race, for judging a change: same rows, same worker source, another `mems`.
//!
//! Each build gets a small workspace of its own under `target/bench`, whose only member is this package and whose
//! `mems` is the checkout's. So a checkout from before a row existed can be measured by it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use toml::{Table, Value};

use crate::builder::{self, Order, Profile};
use crate::cli::CompareArgs;
use crate::contestants::SUBJECT;
use crate::race::Entrant;
use crate::raw::EntrantRole;
use crate::report::{changes, figures::Figures};
use crate::session::{choose_rows, profile_of, race_entrants};

/// Builds both, races them, prints what changed.
pub fn run(arguments: &CompareArgs) -> Result<()> {
    let profile = profile_of(arguments.selection.lto);
    let rows = choose_rows(&arguments.selection)?;
    let before = entrant("before", &arguments.before, EntrantRole::Peer, profile)?;
    let after = entrant("after", &arguments.after, EntrantRole::Subject, profile)?;
    let (head, lines) = race_entrants(&arguments.selection, rows, vec![before, after], Vec::new())?;
    print!("{}", changes::report(&Figures::of(head, &lines), &arguments.before, &arguments.after));
    Ok(())
}

fn entrant(label: &str, place: &str, role: EntrantRole, profile: Profile) -> Result<Entrant> {
    let directory = builder::output_directory().join(format!("compare-{label}"));
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("creating {}", directory.display()))?;
    let checkout = if Path::new(place).join("Cargo.toml").is_file() {
        std::fs::canonicalize(place).with_context(|| format!("finding {place}"))?
    } else {
        // Beside the derived workspace: inside it, cargo would take the checkout for one of its members.
        unpack_revision(place, &builder::output_directory().join(format!("checkout-{label}")))?
    };
    write_workspace(&directory, &checkout)?;
    eprintln!("building {label}: MeMS of {place}");
    let order = Order { workspace: &directory, feature: SUBJECT, label, profile, counted: false };
    let worker = builder::build(&order).with_context(|| format!("building MeMS of {place}"))?;
    Ok(Entrant { name: label.to_owned(), role, worker, environment: Vec::new() })
}

/// Unpacks a revision of this repository. The repository itself is only read.
fn unpack_revision(revision: &str, into: &Path) -> Result<PathBuf> {
    if into.exists() {
        std::fs::remove_dir_all(into).with_context(|| format!("clearing {}", into.display()))?;
    }
    std::fs::create_dir_all(into).with_context(|| format!("creating {}", into.display()))?;
    let archive = into.join("revision.tar");
    let workspace = builder::workspace();
    let git = Command::new("git")
        .current_dir(&workspace)
        .args(["archive", "--format=tar", "--output"])
        .arg(&archive)
        .arg(revision)
        .output()
        .context("starting git")?;
    if !git.status.success() {
        bail!(
            "{revision} is neither a checkout nor a revision: {}",
            String::from_utf8_lossy(&git.stderr).trim()
        );
    }
    let tar = Command::new("tar")
        .arg("-xf")
        .arg(&archive)
        .arg("-C")
        .arg(into)
        .status()
        .context("starting tar")?;
    if !tar.success() {
        bail!("tar could not unpack {}", archive.display());
    }
    Ok(into.to_path_buf())
}

/// Makes `directory` a workspace with this package and the checkout's `mems`.
fn write_workspace(directory: &Path, checkout: &Path) -> Result<()> {
    let own = builder::workspace();
    let path = own.join("Cargo.toml");
    let manifest =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let derived = derive_manifest(&manifest, checkout)?;
    std::fs::write(directory.join("Cargo.toml"), derived).context("writing the workspace")?;
    std::fs::copy(own.join("Cargo.lock"), directory.join("Cargo.lock"))
        .context("copying the lock file")?;
    let link = directory.join("bench");
    if link.symlink_metadata().is_ok() {
        std::fs::remove_file(&link).with_context(|| format!("removing {}", link.display()))?;
    }
    std::os::unix::fs::symlink(own.join("bench"), &link)
        .with_context(|| format!("linking {}", link.display()))
}

/// The workspace's manifest without its package, with `bench` alone, and with `mems` from `checkout`.
fn derive_manifest(manifest: &str, checkout: &Path) -> Result<String> {
    let manifest: Table = manifest.parse().context("parsing the workspace's Cargo.toml")?;
    let mut workspace =
        manifest.get("workspace").and_then(Value::as_table).context("no [workspace]")?.clone();
    workspace.remove("default-members");
    workspace.insert("members".to_owned(), Value::Array(vec![Value::from("bench")]));
    let mems = workspace
        .get_mut("dependencies")
        .and_then(|dependencies| dependencies.get_mut("mems"))
        .and_then(Value::as_table_mut)
        .context("the workspace has no dependency `mems`")?;
    mems.insert("path".to_owned(), Value::from(checkout.display().to_string()));
    mems.remove("version");
    let mut derived = Table::new();
    derived.insert("workspace".to_owned(), Value::Table(workspace));
    if let Some(profile) = manifest.get("profile") {
        derived.insert("profile".to_owned(), profile.clone());
    }
    toml::to_string(&derived).context("writing the derived manifest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derived_manifest_points_at_the_checkout() {
        let manifest = std::fs::read_to_string(builder::workspace().join("Cargo.toml")).unwrap();
        let derived: Table =
            derive_manifest(&manifest, Path::new("/there")).unwrap().parse().unwrap();
        assert!(derived.get("package").is_none());
        let workspace = &derived["workspace"];
        assert_eq!(workspace["members"].as_array().unwrap().len(), 1);
        assert_eq!(workspace["dependencies"]["mems"]["path"].as_str(), Some("/there"));
        assert!(workspace.get("lints").is_some());
    }
}
