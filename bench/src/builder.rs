//! Builds workers: one cargo invocation per contestant, so that a peer that does not build stays alone.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// How workers are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// `release`, as most programs are built.
    Release,
    /// `release` with fat LTO and one codegen unit: a Rust allocator can be inlined into the program.
    FatLto,
}

impl Profile {
    /// The profile's name in directories and raw files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::FatLto => "fat-lto",
        }
    }

    /// The arguments that select it. The LTO profile is given here, so that the workspace needs none.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Release => &["--release"],
            Self::FatLto => &[
                "--profile",
                "bench-fat-lto",
                "--config",
                "profile.bench-fat-lto.inherits=\"release\"",
                "--config",
                "profile.bench-fat-lto.lto=\"fat\"",
                "--config",
                "profile.bench-fat-lto.codegen-units=1",
            ],
        }
    }
}

/// The workspace this driver was built from, where cargo is called.
pub fn workspace() -> PathBuf {
    let manifest =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let package = PathBuf::from(manifest);
    package.parent().map_or_else(|| package.clone(), Path::to_path_buf)
}

/// Where the driver keeps workers, logs and results.
pub fn output_directory() -> PathBuf {
    target_directory().join("bench")
}

/// Cargo's target directory. Every worker is built in it, so that dependencies are compiled once.
fn target_directory() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The cargo that has built this driver.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// A worker to be built.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// The workspace whose `mems-bench` is built.
    pub workspace: &'a Path,
    /// The worker's feature.
    pub feature: &'a str,
    /// What the copy of the worker is called.
    pub label: &'a str,
    /// The profile.
    pub profile: Profile,
    /// Whether MeMS counts what its threads do to each other.
    pub counted: bool,
}

/// Builds a worker and returns the path of a copy that later builds leave alone. The error is one line.
pub fn build(order: &Order<'_>) -> Result<PathBuf> {
    let directory = output_directory().join(order.profile.name());
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("creating {}", directory.display()))?;
    let output = cargo()
        .current_dir(order.workspace)
        .args(["build", "--package", "mems-bench", "--bin", "worker", "--no-default-features"])
        .args(["--features", order.feature, "--message-format=json-render-diagnostics"])
        .args(order.profile.arguments())
        .arg("--target-dir")
        .arg(if order.counted { output_directory().join("counted") } else { target_directory() })
        .envs(order.counted.then_some(("RUSTFLAGS", "--cfg mems_counted")))
        // With debug information, snmalloc's build script compiles its C++ in debug mode.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .stdin(Stdio::null())
        .output()
        .context("starting cargo")?;
    let log = String::from_utf8_lossy(&output.stderr);
    let log_path = directory.join(format!("{}.log", order.label));
    std::fs::write(&log_path, log.as_bytes())
        .with_context(|| format!("writing {}", log_path.display()))?;
    if !output.status.success() {
        bail!("{} (see {})", reason(&log), log_path.display());
    }
    let Some(built) = executable(&String::from_utf8_lossy(&output.stdout)) else {
        bail!("cargo named no executable");
    };
    let copy = directory.join(order.label);
    // A running copy cannot be written to, but it can be replaced.
    let _ = std::fs::remove_file(&copy);
    std::fs::copy(&built, &copy).with_context(|| format!("copying {}", built.display()))?;
    Ok(copy)
}

/// The executable that cargo's messages name last.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|message| message.get("executable")?.as_str().map(PathBuf::from))
        .next_back()
}

/// The first line of a build log that says what went wrong.
fn reason(log: &str) -> &str {
    let says_why = |line: &&str| line.starts_with("error");
    log.lines().find(says_why).or_else(|| log.lines().next_back()).unwrap_or("cargo failed").trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_found_among_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":null}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":\"/t/worker\"}\n\
                        {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(executable(messages), Some(PathBuf::from("/t/worker")));
        assert_eq!(executable("no json"), None);
    }

    #[test]
    fn the_first_error_is_the_reason() {
        assert_eq!(
            reason("   Compiling x\nerror: no cmake\nerror: could not compile"),
            "error: no cmake"
        );
        assert_eq!(reason(""), "cargo failed");
    }

    /// Debug information in the release profile would slow one peer down and make the race unfair.
    #[test]
    fn the_release_profile_has_no_debug_information() {
        let manifest = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let release = manifest.get("profile").and_then(|profile| profile.get("release"));
        assert!(release.and_then(|release| release.get("debug")).is_none());
    }
}
