use std::fs;
use std::os::unix::fs::symlink;

use std::time::Duration;

use super::*;

/// A folder, and perhaps a watch over some of its files.
struct Scene(PathBuf);

impl Scene {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir()
            .canonicalize()
            .unwrap()
            .join(format!("lockgate-watch-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn paths(&self, names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(|name| self.path(name)).collect()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// A watch over these files. As if they had been read long ago, it reports
    /// those that exist; with that it is known to have begun.
    async fn watch(&self, names: &[&str]) -> Watch {
        let watch = Watch::start(self.paths(names), SystemTime::UNIX_EPOCH).unwrap();
        let mut existing = names.to_vec();
        existing.retain(|name| self.path(name).exists());
        self.all_changed(&watch, existing).await;
        watch
    }

    /// Waits until all of these were reported, at once or one by one.
    async fn all_changed(&self, watch: &Watch, mut names: Vec<&str>) {
        while !names.is_empty() {
            let changed = self.changed(watch).await;
            names.retain(|name| !changed.iter().any(|other| other == name));
        }
    }

    /// The names of what changed next, without the folder.
    async fn changed(&self, watch: &Watch) -> Vec<String> {
        let changed = tokio::time::timeout(LONG, watch.changed()).await;
        changed
            .expect("a change is seen")
            .iter()
            .map(|path| path.strip_prefix(&self.0).unwrap().display().to_string())
            .collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_file_written_in_place_is_seen() {
    let scene = Scene::new("place");
    scene.write("a.yaml", "one");
    let watch = scene.watch(&["a.yaml"]).await;
    scene.write("a.yaml", "two");
    assert_eq!(scene.changed(&watch).await, ["a.yaml"]);
    scene.write("a.yaml", "six");
    assert_eq!(scene.changed(&watch).await, ["a.yaml"]);
}

#[tokio::test]
async fn a_file_replaced_by_renaming_is_seen_again_and_again() {
    let scene = Scene::new("rename");
    scene.write("a.yaml", "0");
    let watch = scene.watch(&["a.yaml"]).await;
    for round in 1..=3 {
        scene.write(".a.yaml.swp", &round.to_string());
        fs::rename(scene.path(".a.yaml.swp"), scene.path("a.yaml")).unwrap();
        assert_eq!(scene.changed(&watch).await, ["a.yaml"], "{round}");
    }
}

/// As kubelet does: the files lie in a folder of their own, to which `..data`
/// leads, and a new `..data` is renamed over the old.
#[tokio::test]
async fn the_exchanged_link_of_a_mounted_config_map_is_seen() {
    let scene = Scene::new("configmap");
    fs::create_dir(scene.path("..1")).unwrap();
    scene.write("..1/a.yaml", "0");
    symlink("..1", scene.path("..data")).unwrap();
    symlink("..data/a.yaml", scene.path("a.yaml")).unwrap();
    let watch = scene.watch(&["a.yaml"]).await;
    for round in 2..=4 {
        let folder = format!("..{round}");
        fs::create_dir(scene.path(&folder)).unwrap();
        scene.write(&format!("{folder}/a.yaml"), &folder);
        symlink(&folder, scene.path("..data_tmp")).unwrap();
        fs::rename(scene.path("..data_tmp"), scene.path("..data")).unwrap();
        fs::remove_dir_all(scene.path(&format!("..{}", round - 1))).unwrap();
        assert_eq!(scene.changed(&watch).await, ["a.yaml"], "{round}");
    }
}

#[tokio::test]
async fn a_file_that_goes_and_comes_back_is_seen_both_times() {
    let scene = Scene::new("gone");
    scene.write("a.yaml", "one");
    let watch = scene.watch(&["a.yaml"]).await;
    fs::remove_file(scene.path("a.yaml")).unwrap();
    assert_eq!(scene.changed(&watch).await, ["a.yaml"]);
    scene.write("a.yaml", "one");
    assert_eq!(scene.changed(&watch).await, ["a.yaml"]);
}

#[tokio::test]
async fn a_file_in_a_folder_yet_to_come_is_seen() {
    let scene = Scene::new("missing");
    let watch = scene.watch(&["sub/a.yaml"]).await;
    fs::create_dir(scene.path("sub")).unwrap();
    scene.write("sub/a.yaml", "one");
    assert_eq!(scene.changed(&watch).await, ["sub/a.yaml"]);
}

#[tokio::test]
async fn the_same_content_again_is_no_change() {
    let scene = Scene::new("same");
    scene.write("a.yaml", "one");
    scene.write("b.yaml", "one");
    let watch = scene.watch(&["a.yaml", "b.yaml"]).await;
    // By renaming, so that it is never seen half written.
    scene.write("a.yaml.new", "one");
    fs::rename(scene.path("a.yaml.new"), scene.path("a.yaml")).unwrap();
    scene.write("b.yaml", "two");
    assert_eq!(scene.changed(&watch).await, ["b.yaml"]);
}

#[tokio::test]
async fn a_folder_that_is_exchanged_as_a_whole_is_found_by_polling() {
    let scene = Scene::new("folder");
    for (folder, text) in [("live", "one"), ("next", "two")] {
        fs::create_dir(scene.path(folder)).unwrap();
        scene.write(&format!("{folder}/a.yaml"), text);
    }
    let watch = scene.watch(&["live/a.yaml"]).await;
    fs::rename(scene.path("live"), scene.path("old")).unwrap();
    fs::rename(scene.path("next"), scene.path("live")).unwrap();
    assert_eq!(scene.changed(&watch).await, ["live/a.yaml"]);
    scene.write("live/a.yaml", "three");
    assert_eq!(scene.changed(&watch).await, ["live/a.yaml"]);
}

#[tokio::test]
async fn what_changed_while_it_was_read_is_reported() {
    let scene = Scene::new("meanwhile");
    let before = SystemTime::now() - Duration::from_secs(1);
    scene.write("a.yaml", "one");
    let watch = Watch::start(scene.paths(&["a.yaml"]), before).unwrap();
    assert_eq!(scene.changed(&watch).await, ["a.yaml"]);
}

/// What was read in between may have been something else.
#[tokio::test]
async fn what_changed_since_it_was_read_is_reported_though_it_looks_the_same() {
    let scene = Scene::new("restored");
    scene.write("a.yaml", "one");
    let watch = scene.watch(&["a.yaml"]).await;
    watch.also(
        scene.paths(&["a.yaml"]),
        SystemTime::now() - Duration::from_secs(60),
    );
    assert_eq!(scene.changed(&watch).await, ["a.yaml"]);
}

#[tokio::test]
async fn what_was_read_already_is_not_reported() {
    let scene = Scene::new("read");
    scene.write("a.yaml", "one");
    let later = SystemTime::now() + Duration::from_secs(3600);
    let watch = Watch::start(scene.paths(&["a.yaml"]), later).unwrap();
    scene.write("b.yaml", "one");
    watch.also(scene.paths(&["b.yaml"]), SystemTime::UNIX_EPOCH);
    assert_eq!(scene.changed(&watch).await, ["b.yaml"]);
}

#[tokio::test]
async fn a_new_name_in_a_folder_is_seen_and_a_hidden_one_is_not() {
    let scene = Scene::new("names");
    fs::create_dir(scene.path("conf.d")).unwrap();
    scene.write("conf.d/a.yaml", "one");
    let watch = scene.watch(&["conf.d"]).await;
    scene.write("b.yaml", "one");
    watch.also(scene.paths(&["b.yaml"]), SystemTime::UNIX_EPOCH);
    assert_eq!(scene.changed(&watch).await, ["b.yaml"]);
    scene.write("conf.d/.hidden", "one");
    scene.write("conf.d/a.yaml", "two");
    scene.write("b.yaml", "two");
    assert_eq!(scene.changed(&watch).await, ["b.yaml"]);
    scene.write("conf.d/b.yaml", "one");
    assert_eq!(scene.changed(&watch).await, ["conf.d"]);
    fs::remove_file(scene.path("conf.d/a.yaml")).unwrap();
    assert_eq!(scene.changed(&watch).await, ["conf.d"]);
}

#[tokio::test]
async fn files_are_added_and_left() {
    let scene = Scene::new("added");
    scene.write("a.yaml", "one");
    scene.write("b.yaml", "one");
    let watch = scene.watch(&["a.yaml"]).await;
    watch.also(scene.paths(&["b.yaml"]), SystemTime::UNIX_EPOCH);
    assert_eq!(scene.changed(&watch).await, ["b.yaml"]);
    scene.write("a.yaml", "two");
    assert_eq!(scene.changed(&watch).await, ["a.yaml"]);

    scene.write("c.yaml", "one");
    watch.replace(scene.paths(&["b.yaml", "c.yaml"]), SystemTime::UNIX_EPOCH);
    scene.all_changed(&watch, vec!["b.yaml", "c.yaml"]).await;
    scene.write("a.yaml", "three");
    scene.write("b.yaml", "two");
    assert_eq!(scene.changed(&watch).await, ["b.yaml"]);
}
