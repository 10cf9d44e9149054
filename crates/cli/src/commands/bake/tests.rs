//! Bake files of every kind, and what they come to.

use super::*;

fn targets(text: &str, overrides: &[&str]) -> Targets {
    let mut file = File::new(BTreeMap::new(), "linux/amd64");
    file.add_hcl("bake", text).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|it| (*it).to_owned()).collect();
    Targets::read(&file, &overrides).unwrap()
}

fn shown(targets: &Targets, names: &[&str]) -> Value {
    let names: Vec<String> = names.iter().map(|it| (*it).to_owned()).collect();
    let chosen = targets.select(&names).unwrap();
    chosen.into_iter().map(|(name, target)| (name, target.shown())).collect::<Map<_, _>>().into()
}

const FILE: &str = r#"
variable "TAG" { default = "latest" }
group "default" { targets = ["app", "db"] }
target "base" {
  args = { A = "1", B = "base" }
  platforms = ["linux/amd64"]
  cache-from = ["user/base"]
}
target "app" {
  inherits = ["base"]
  dockerfile = "app.Dockerfile"
  args = { B = "app" }
  tags = ["app:${TAG}"]
  cache-from = ["type=registry,ref=user/app"]
  contexts = { other = "target:db" }
}
target "db" {
  dockerfile-inline = "FROM scratch"
  output = ["type=tar,dest=out.tar"]
}
"#;

#[test]
fn groups_and_inheritance() {
    let targets = targets(FILE, &[]);
    assert_eq!(
        shown(&targets, &["default"]),
        json!({
            "app": {
                "context": ".",
                "contexts": {"other": "target:db"},
                "dockerfile": "app.Dockerfile",
                "args": {"A": "1", "B": "app"},
                "tags": ["app:latest"],
                "cache-from": [
                    {"type": "registry", "ref": "user/base"},
                    {"type": "registry", "ref": "user/app"},
                ],
                "platforms": ["linux/amd64"],
            },
            "db": {
                "context": ".",
                "dockerfile-inline": "FROM scratch",
                "output": [{"type": "tar", "dest": "out.tar"}],
            },
        })
    );
    assert!(targets.select(&["nothing".to_owned()]).is_err());
}

#[test]
fn the_command_line_has_the_last_word() {
    let targets = targets(
        FILE,
        &[
            "app.args.B=set",
            "*.platform=linux/arm64",
            "app.tags=one",
            "app.tags=two",
            "*.pull=true",
        ],
    );
    let app = shown(&targets, &["app"]);
    assert_eq!(app["app"]["args"], json!({"A": "1", "B": "set"}));
    assert_eq!(app["app"]["tags"], json!(["one", "two"]));
    assert_eq!(app["app"]["platforms"], json!(["linux/arm64"]));
    assert_eq!(app["app"]["pull"], json!(true));
    let mut file = File::new(BTreeMap::new(), "p");
    file.add_hcl("bake", FILE).unwrap();
    for bad in ["nothing.tags=x", "app", "app.nonsense=x", "app.inherits=x", "app.pull=maybe"] {
        assert!(Targets::read(&file, &[bad.to_owned()]).is_err(), "{bad}");
    }
}

#[test]
fn a_matrix_is_many_targets() {
    let text = r#"
target "app" {
  name = "app-${tgt}-${replace(item.version, ".", "-")}"
  matrix = {
    tgt = ["lint", "test"]
    item = [{ version = "1.0" }, { version = "2.0" }]
  }
  target = tgt
  args = { VERSION = item.version }
}
"#;
    let targets = targets(text, &[]);
    let names: Vec<&str> = targets.all().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["app-lint-1-0", "app-test-1-0", "app-lint-2-0", "app-test-2-0"]);
    let all = shown(&targets, &["app"]);
    assert_eq!(all["app-test-2-0"]["target"], "test");
    assert_eq!(all["app-test-2-0"]["args"]["VERSION"], "2.0");
}

#[test]
fn json_and_compose_say_the_same() {
    let mut file = File::new(BTreeMap::new(), "p");
    let text = "{\"variable\": {\"T\": {\"default\": \"v1\"}},\
        \"group\": {\"default\": {\"targets\": [\"a\"]}},\
        \"target\": {\"a\": {\"tags\": [\"a:${T}\"], \"args\": {\"X\": \"y\"}}}}";
    add(&mut file, "docker-bake.json", text).unwrap();
    let targets = Targets::read(&file, &[]).unwrap();
    let a = shown(&targets, &["default"]);
    assert_eq!((&a["a"]["tags"], &a["a"]["args"]), (&json!(["a:v1"]), &json!({"X": "y"})));
    let mut file = File::new(BTreeMap::new(), "p");
    let text = "services:\n  web:\n    image: web:1\n    build:\n      context: ./web\n      \
        args: [A=b]\n      target: t\n      secrets: [s]\n  db:\n    image: db\n\
        secrets:\n  s:\n    file: ./s.txt\n";
    add(&mut file, "compose.yaml", text).unwrap();
    let targets = Targets::read(&file, &[]).unwrap();
    let web = shown(&targets, &["default"]);
    assert_eq!(
        web,
        json!({"web": {
            "context": "./web",
            "dockerfile": "Dockerfile",
            "args": {"A": "b"},
            "tags": ["web:1"],
            "target": "t",
            "secret": [{"id": "s", "src": "./s.txt"}],
        }})
    );
}

#[test]
fn later_files_go_over_earlier_ones() {
    let mut file = File::new(BTreeMap::new(), "p");
    file.add_hcl("one", FILE).unwrap();
    file.add_hcl("two", "target \"app\" {\n  args = { C = \"3\" }\n  tags = [\"x\"]\n}\n").unwrap();
    let targets = Targets::read(&file, &[]).unwrap();
    let app = shown(&targets, &["app"]);
    assert_eq!(app["app"]["args"], json!({"A": "1", "B": "app", "C": "3"}));
    assert_eq!(app["app"]["tags"], json!(["x"]));
}

#[test]
fn results_that_others_take_come_first() {
    let targets = targets(FILE, &[]);
    let chosen = targets.select(&["app".to_owned()]).unwrap();
    let order = linked(&targets, chosen).unwrap();
    let names: Vec<&str> = order.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["db", "app"]);
    let text = "target \"a\" { contexts = { x = \"target:b\" } }\n\
        target \"b\" { contexts = { x = \"target:a\" } }\n";
    let cyclic = self::targets(text, &[]);
    let chosen = cyclic.select(&["a".to_owned()]).unwrap();
    assert!(linked(&cyclic, chosen).unwrap_err().contains("infinite loop"));
    let own = self::targets("target \"a\" { inherits = [] }\n", &[]);
    assert_eq!(own.all().len(), 1);
}
