//! Properties of graphs and of their digests.

use super::*;

fn image(reference: &str) -> OpKind {
    OpKind::Image(Image { reference: reference.to_owned(), pull: Pull::Missing, layer_limit: None })
}

fn exec(args: &[&str], proxy: &[&str]) -> OpKind {
    OpKind::Exec(Box::new(Exec {
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        proxy: proxy.iter().map(|arg| (*arg).to_owned()).collect(),
        root: Bind { input: Some(0), output: Some(0), ..Bind::default() },
        ..Exec::default()
    }))
}

fn edge(op: OpId) -> Edge {
    Edge { op, output: 0 }
}

#[test]
fn same_definitions_are_one_operation() {
    let mut graph = Graph::new();
    let base = graph.add(image("a"), vec![], None, Vertex::named("one")).unwrap();
    let again = graph.add(image("a"), vec![], None, Vertex::named("two")).unwrap();
    assert_eq!(base, again);
    let other = graph.add(image("b"), vec![], None, Vertex::default()).unwrap();
    let run = |graph: &mut Graph, base, args: &[&str], proxy: &[&str]| {
        graph.add(exec(args, proxy), vec![edge(base)], None, Vertex::default()).unwrap()
    };
    let first = run(&mut graph, base, &["make"], &[]);
    assert_eq!(first, run(&mut graph, base, &["make"], &["HTTP_PROXY=p"]), "a proxy is no input");
    assert_ne!(first, run(&mut graph, other, &["make"], &[]));
    assert_ne!(first, run(&mut graph, base, &["ma", "ke"], &[]));
    let ops = graph.ops();
    assert_ne!(ops[first.0].digest(), ops[first.0].own_digest());
    assert_eq!(graph.find(&ops[first.0].digest()), Some(first));
}

#[test]
fn platforms_and_ignored_caches_count() {
    let mut graph = Graph::new();
    let amd = Platform::new("linux", "amd64", "");
    let arm = Platform::new("linux", "arm64", "");
    let one = graph.add(image("a"), vec![], Some(amd.clone()), Vertex::default()).unwrap();
    let two = graph.add(image("a"), vec![], Some(arm), Vertex::default()).unwrap();
    assert_ne!(one, two);
    let vertex = Vertex { ignore_cache: true, ..Vertex::default() };
    assert_eq!(graph.add(image("a"), vec![], Some(amd), vertex), Ok(one));
    assert!(graph.ops()[one.0].meta.ignore_cache);
    assert!(!graph.ops()[two.0].meta.ignore_cache);
}

#[test]
fn inputs_must_be_there() {
    let mut graph = Graph::new();
    let base = graph.add(image("a"), vec![], None, Vertex::default()).unwrap();
    let missing = graph.add(exec(&[], &[]), vec![edge(OpId(7))], None, Vertex::default());
    assert!(matches!(missing, Err(GraphError::Order { input: 7, .. })));
    let no_output = Edge { op: base, output: 3 };
    let missing = graph.add(exec(&[], &[]), vec![no_output], None, Vertex::default());
    assert!(matches!(missing, Err(GraphError::Output { output: 3, .. })));
    let no_slot = graph.add(exec(&[], &[]), vec![], None, Vertex::default());
    assert!(matches!(no_slot, Err(GraphError::Slot { slot: 0, inputs: 0, .. })));
    let remove = Change::Remove { path: "/x".into(), allow_missing: false, wildcard: false };
    let itself = FileAction { base: Base::Action(0), change: remove, output: Some(0) };
    let kind = OpKind::File(File { actions: vec![itself] });
    let forward = graph.add(kind, vec![], None, Vertex::default());
    assert!(matches!(forward, Err(GraphError::Slot { slot: 0, .. })));
}

#[test]
fn needed_follows_inputs_only() {
    let mut graph = Graph::new();
    let a = graph.add(image("a"), vec![], None, Vertex::default()).unwrap();
    let _b = graph.add(image("b"), vec![], None, Vertex::default()).unwrap();
    let run = graph.add(exec(&["x"], &[]), vec![edge(a)], None, Vertex::default()).unwrap();
    assert_eq!(graph.needed([run]), [true, false, true]);
    assert_eq!(graph.needed([OpId(99)]), [false, false, false]);
}
