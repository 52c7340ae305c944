//! Headless chromium opens a page, and says what its scripts have written there.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::child;
use super::trials::Answer;

/// A browser, if there is one.
fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "headless_shell"];
    let folders = std::env::var_os("PATH")?;
    let mut places =
        std::env::split_paths(&folders).flat_map(|folder| names.map(|n| folder.join(n)));
    places.find(|path| path.is_file())
}

/// Runs a case with the browser; without one it is skipped.
pub(crate) fn with_browser(
    run: impl FnOnce(&Path) -> Result<Answer, String>,
) -> Result<Answer, String> {
    match chromium() {
        Some(browser) => run(&browser),
        None => Ok(Answer::Skipped("no chromium: apt-get install chromium gets it".to_owned())),
    }
}

/// What a page has become.
#[derive(Debug)]
pub(crate) struct Opened {
    /// Its document.
    pub(crate) document: String,
    /// What was on the console.
    pub(crate) console: String,
}

impl Opened {
    /// The lines of the script that a probe has left, whose id is `answer`.
    pub(crate) fn answer(&self) -> Vec<String> {
        let answer = self.document.split_once("id=\"answer\">").map(|(_, rest)| rest);
        let answer = answer.and_then(|rest| rest.split_once("</script>")).unwrap_or_default().0;
        answer.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

/// Opens a file; `scheme` is 0 for dark and 1 for light.
pub(crate) fn open(browser: &Path, file: &Path, scheme: &str) -> Opened {
    let profile = std::env::temp_dir().join(format!("mems-browser-{}", std::process::id()));
    std::fs::create_dir_all(&profile).unwrap();
    let quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"];
    let offline =
        ["--disable-background-networking", "--disable-component-update", "--disable-sync"];
    let output = child::output_of(
        Command::new(browser)
            .args(quiet)
            .args(offline)
            .args(["--enable-logging=stderr", "--v=0", "--window-size=1300,900", "--dump-dom"])
            .args(["--allow-file-access-from-files"])
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(format!("file://{}", file.display())),
    );
    std::fs::remove_dir_all(&profile).unwrap();
    let console = output.stderr.lines().filter(|line| line.contains("CONSOLE")).collect();
    Opened { document: output.stdout, console }
}

/// Opens a page with a probe appended: the answer's lines, and what was on the console.
pub(crate) fn probe(
    browser: &Path,
    page: &str,
    probe: &str,
    scheme: &str,
) -> (Vec<String>, String) {
    let folder = super::folders::folder("page");
    let file = folder.join("page.html");
    std::fs::write(&file, page.replace("</body>", &format!("{probe}</body>"))).unwrap();
    let opened = open(browser, &file, scheme);
    (opened.answer(), opened.console)
}
