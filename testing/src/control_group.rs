//! Control groups: processes that get less than the machine has.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// A setting, by its file in the first version of control groups and in the second.
pub type Setting<'a> = (&'a str, &'a str);

/// A group of its own, removed when it is dropped. By then its processes have ended, or have left.
pub struct ControlGroup {
    path: PathBuf,
    parent: PathBuf,
    is_first_version: bool,
}

impl ControlGroup {
    /// A group under the one that the system starts with. `None` if the system does not let us: it
    /// takes the rights of an administrator. The first version has a tree for each controller.
    pub fn new(controller: &str, name: &str) -> Option<ControlGroup> {
        let root = Path::new("/sys/fs/cgroup");
        let of_controller = root.join(controller);
        let is_first_version = of_controller.is_dir();
        let parent = if is_first_version { of_controller } else { root.to_owned() };
        let path = parent.join(format!("narrowboat-{}-{name}", std::process::id()));
        fs::create_dir(&path).ok()?;
        Some(ControlGroup { path, parent, is_first_version })
    }

    /// Changes a setting.
    pub fn set(&self, (first, second): Setting, value: &str) -> io::Result<()> {
        fs::write(self.path.join(if self.is_first_version { first } else { second }), value)
    }

    /// Where the number of a process is written that is to be in it.
    pub fn members(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Takes the process into it, until what is returned is dropped.
    pub fn enter(&self) -> io::Result<Inside<'_>> {
        fs::write(self.members(), std::process::id().to_string())?;
        Ok(Inside(self))
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // The processes have ended, and the kernel may take a moment to see it.
        for _ in 0..100 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// While it is there, the process is in a group.
pub struct Inside<'a>(&'a ControlGroup);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // If it cannot leave, the group stays behind, which hurts nothing.
        let _ = fs::write(self.0.parent.join("cgroup.procs"), std::process::id().to_string());
    }
}
