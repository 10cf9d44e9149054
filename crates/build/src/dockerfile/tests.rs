//! What each instruction parses to, and how errors point.

use super::*;
use crate::graph::{NetworkMode, SecurityMode, Sharing};

fn parse(text: &str) -> Dockerfile {
    Dockerfile::parse("Dockerfile", text.as_bytes()).unwrap()
}

fn one(text: &str) -> Kind {
    parse(text).instructions.remove(0).kind
}

fn error(text: &str) -> ParseError {
    Dockerfile::parse("Dockerfile", text.as_bytes()).unwrap_err()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn command(text: &str) -> Command {
    match one(text) {
        Kind::Cmd(command) | Kind::Entrypoint(command) => command,
        Kind::Run(run) => run.command,
        other => panic!("{other:?}"),
    }
}

#[test]
fn exec_and_shell_forms() {
    let shell = |text: &str| Command { args: strings(&[text]), exec: false };
    let exec = |args: &[&str]| Command { args: strings(args), exec: true };
    assert_eq!(command("CMD echo  \"a b\" $x"), shell("echo  \"a b\" $x"));
    assert_eq!(command("CMD [\"a\", \"b c\"]"), exec(&["a", "b c"]));
    assert_eq!(command("CMD [ ]"), exec(&[]));
    assert_eq!(command("CMD"), Command::default());
    assert_eq!(command("ENTRYPOINT ['a']"), shell("['a']"));
    assert_eq!(command("RUN [ \"a\\tb\" ]"), exec(&["a\tb"]));
    assert_eq!(command("RUN [ -f x ] && echo y"), shell("[ -f x ] && echo y"));
    assert_eq!(command("RUN [\"unterminated\""), shell("[\"unterminated\""));
    assert!(error("CMD [1]").message.contains("arrays must be comprised of strings only"));
    assert_eq!(one("SHELL [\"/bin/bash\", \"-c\"]"), Kind::Shell(strings(&["/bin/bash", "-c"])));
}

#[test]
fn continuations_comments_and_escapes() {
    let file = parse(
        "# a comment\nFROM x\nRUN a \\\n  # inside\n  b \\\n\n  c\\  \n d\nRUN tail \\\\\n\
         RUN \\\n\\\n x",
    );
    let texts: Vec<&str> = file.instructions.iter().map(|i| i.original.as_str()).collect();
    assert_eq!(texts, ["FROM x", "RUN a   b   c d", "RUN tail \\\\", "RUN  x"]);
    assert_eq!(file.empty_continuations, [8]);
    assert_eq!(file.instructions[1].span, Span::lines(3, 8));
    assert_eq!(file.instructions[0].comments, ["a comment"]);
    let windows = parse("# escape=`\nFROM x\nRUN dir c:\\ `\n  /b\nCOPY a c:\\\r\n");
    assert_eq!(windows.instructions[1].original, "RUN dir c:\\   /b");
    assert_eq!(windows.instructions.len(), 3);
}

#[test]
fn directives_come_first_and_once() {
    let file =
        parse("# Syntax = docker/dockerfile:1 \n#escape=`\n# check=skip=all;error=true\nFROM x");
    assert_eq!(file.syntax(), Some("docker/dockerfile:1"));
    assert_eq!(file.directives.escape_char(), '`');
    assert_eq!(file.directives.check.as_ref().unwrap().value, "skip=all;error=true");
    assert_eq!(parse("# comment\n# escape=`\nFROM x").directives.escape_char(), '\\');
    assert_eq!(parse("\n# escape=`\nFROM x").directives.escape_char(), '\\');
    assert_eq!(parse("# unknown=1\n# escape=`\nFROM x").directives.escape_char(), '\\');
    let twice = error("# escape=`\n# escape=`\nFROM x");
    assert!(twice.message.ends_with("only one escape parser directive can be used"));
    assert!(error("# escape=x\nFROM y").message.contains("invalid escape token 'x'"));
    for (text, want) in [
        ("# syntax=a/b:1\n", Some("a/b:1")),
        ("#!/usr/bin/env x\n# syntax=a b\n", Some("a")),
        ("// syntax=c\n// escape=`\n", Some("c")),
        ("{\"syntax\": \"d\", \"x\": 1}", Some("d")),
        ("FROM x\n# syntax=a\n", None),
        ("# check=skip=all\n# syntax=e\n", Some("e")),
        ("{}", None),
    ] {
        assert_eq!(detect_syntax(text.as_bytes()).as_deref(), want, "{text}");
    }
}

#[test]
fn from_and_stage_names() {
    let Kind::From(from) = one("FROM --platform=$BUILDPLATFORM golang:1.22 As Build-1.x") else {
        panic!("no FROM");
    };
    assert_eq!(from.base, "golang:1.22");
    assert_eq!(from.platform.as_deref(), Some("$BUILDPLATFORM"));
    assert_eq!(from.name.as_deref(), Some("build-1.x"));
    assert_eq!(from.as_word.as_deref(), Some("As"));
    assert!(error("FROM a b").message.contains("either one or three arguments"));
    assert!(error("FROM a AS 1b").message.contains("invalid name for build stage: \"1b\""));
    assert!(error("FROM").message.contains("either one or three arguments"));
}

#[test]
fn pairs_keep_their_quotes() {
    let Kind::Env(pairs) = one("ENV a=b c=\"d e\" f='g h' i=j\\ k l=") else { panic!("no ENV") };
    let pairs: Vec<_> = pairs.iter().map(|p| (p.name.as_str(), p.value.as_str())).collect();
    let want = [("a", "b"), ("c", "\"d e\""), ("f", "'g h'"), ("i", "j\\ k"), ("l", "")];
    assert_eq!(pairs, want);
    let Kind::Env(pairs) = one("ENV abc  d e=f") else { panic!("no ENV") };
    assert_eq!((pairs[0].name.as_str(), pairs[0].value.as_str()), ("abc", "d e=f"));
    assert!(pairs[0].legacy);
    let Kind::Label(pairs) = one("LABEL \"com.x\"=\"a\" b=c") else { panic!("no LABEL") };
    assert_eq!(pairs[0].name, "\"com.x\"");
    assert!(error("ENV a").message.contains("ENV must have two arguments"));
    assert!(error("ENV a=b c").message.contains("can't find = in \"c\""));
    assert!(error("ENV =x").message.contains("ENV names can not be blank"));
    assert!(error("LABEL").message.contains("LABEL requires at least one argument"));
    let Kind::Arg(args) = one("ARG a b=1 c=\"x y\"") else { panic!("no ARG") };
    assert_eq!(args[0].default, None);
    assert_eq!(args[2].default.as_deref(), Some("\"x y\""));
}

#[test]
fn run_takes_its_flags() {
    let text = "RUN --mount=type=cache,target=/c --mount=type=secret,id=s --network=none \
                --security=insecure --device=vendor/class=name,required make -j";
    let Kind::Run(run) = one(text) else { panic!("no RUN") };
    assert_eq!(run.mounts, ["type=cache,target=/c", "type=secret,id=s"]);
    assert_eq!((run.network, run.security), (Some(NetworkMode::None), SecurityMode::Insecure));
    assert_eq!(run.devices, [DeviceFlag { name: "vendor/class=name".into(), required: true }]);
    assert_eq!(run.command.args, ["make -j"]);
    assert!(error("RUN --network=hots x").message.contains("invalid network mode \"hots\""));
    assert!(error("RUN --security=x y").message.contains("security \"x\" is not valid"));
    assert!(error("RUN --mout=x y").message.contains("unknown flag: --mout (did you mean mount?)"));
    assert!(error("RUN --mount=type=bind,from=$x y").message.contains("define alias stage"));
}

fn mount(value: &str) -> Result<MountFlag, String> {
    MountFlag::parse(value, &mut |text| Ok(text.to_owned())).map_err(|fault| fault.message)
}

#[test]
fn mounts_of_every_kind() {
    let bind = mount("target=/a,from=x,src=/s,rw").unwrap();
    assert_eq!((bind.kind, bind.readonly), (MountType::Bind, false));
    assert_eq!((bind.from.as_deref(), bind.source.as_str()), (Some("x"), "/s"));
    assert!(mount("type=bind,dst=/a").unwrap().readonly);
    let cache =
        mount("type=cache,id=i,destination=/c,sharing=locked,mode=0700,uid=1,gid=2").unwrap();
    assert_eq!((cache.kind, cache.sharing), (MountType::Cache, Some(Sharing::Locked)));
    assert_eq!((cache.mode, cache.uid, cache.gid), (Some(0o700), Some(1), Some(2)));
    assert!(!cache.readonly && mount("type=cache,target=/c,readonly=true").unwrap().readonly);
    assert_eq!(mount("type=tmpfs,target=/t,size=64m").unwrap().size_bytes, Some(64 << 20));
    let secret = mount("type=secret,id=s,target=/x,required,env=TOKEN").unwrap();
    assert!(secret.required && secret.env.as_deref() == Some("TOKEN"));
    assert!(mount("type=ssh,id=default,required=true,mode=0600").unwrap().required);
    for (value, want) in [
        ("type=bnd", "unsupported mount type \"bnd\" (did you mean bind?)"),
        ("type=cache,sharing=share", "unsupported sharing value \"share\" (did you mean shared?)"),
        ("targt=/x", "unexpected key 'targt' in 'targt=/x' (did you mean target?)"),
        ("target", "invalid field 'target' must be a key=value pair"),
        ("type=bind,mode=1", "mode not allowed for \"bind\" type mounts"),
        ("type=bind,size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=bind,required", "unexpected key 'required' for mount type 'bind'"),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,src=a,id=b", "both source and id can't be set"),
        ("type=secret,id=a,from=b", "secret mount should not have a from"),
        ("type=bind,target=/a,sharing=shared", "invalid cache sharing set for bind mount"),
        ("type=cache,mode=9", "invalid value 9 for mode"),
        ("type=bind,ro=maybe", "invalid value for ro: maybe"),
        ("\"x", "failed to parse csv mounts: extraneous or missing \" in quoted-field"),
    ] {
        assert_eq!(mount(value).unwrap_err(), want, "{value}");
    }
}

#[test]
fn copy_and_add_take_their_flags() {
    let text = "COPY --from=b --chown=1:2 --chmod=u=rwX,go=rX --link --parents --exclude=*.o \
                --exclude=x a b/ /c/";
    let Kind::Copy(copy) = one(text) else { panic!("no COPY") };
    assert_eq!((copy.from.as_deref(), copy.chown.as_str()), (Some("b"), "1:2"));
    assert_eq!(copy.chmod, "u=rwX,go=rX");
    assert!(copy.link && copy.parents);
    assert_eq!(copy.exclude, ["*.o", "x"]);
    assert_eq!((copy.sources, copy.dest), (strings(&["a", "b/"]), "/c/".to_owned()));
    let text = "ADD --keep-git-dir=false --checksum=sha256:00 --unpack [\"a b\", \"/c\"]";
    let Kind::Add(add) = one(text) else { panic!("no ADD") };
    assert_eq!((add.keep_git_dir, add.unpack), (Some(false), Some(true)));
    assert_eq!(add.sources, ["a b"]);
    assert!(error("ADD --from=x a b").message.contains("unknown flag: --from"));
    assert!(error("COPY --checksum=x a b").message.contains("unknown flag: --checksum"));
    assert!(error("COPY --link=maybe a b").message.contains("expecting boolean value"));
    assert!(error("COPY --chown a b").message.contains("missing a value on flag: --chown"));
    assert!(error("COPY --chown=1 --chown=2 a b").message.contains("duplicate flag"));
    assert!(error("COPY a").message.contains("COPY requires at least two arguments"));
}

#[test]
fn heredocs_of_every_shape() {
    let file = parse(
        "FROM x\nRUN <<EOF\n a\n  b $x\nEOF\nRUN <<-\"E F\" cat\n\tx\n\tE F\n\
         COPY <<one <<-'two' /d/\n1\none\n\t2\n\ttwo\n\
         RUN cat <<A > /x && <<B cat\na\nA\nb\nB\nCMD x\n",
    );
    let Kind::Run(first) = &file.instructions[1].kind else { panic!("no RUN") };
    assert_eq!(first.heredocs[0].content, " a\n  b $x\n");
    assert!(first.heredocs[0].expand);
    let Kind::Run(second) = &file.instructions[2].kind else { panic!("no RUN") };
    assert_eq!((second.heredocs[0].name.as_str(), second.heredocs[0].expand), ("E F", false));
    let Kind::Copy(copy) = &file.instructions[3].kind else { panic!("no COPY") };
    assert_eq!(copy.heredocs.len(), 2);
    assert_eq!(copy.heredocs[1].text(), "2\n");
    assert!(!copy.heredocs[1].expand && copy.sources.is_empty());
    let Kind::Run(third) = &file.instructions[4].kind else { panic!("no RUN") };
    assert_eq!(third.heredocs.len(), 2);
    assert_eq!(file.instructions[5].span, Span::lines(19, 19));
    assert!(error("FROM x\nRUN <<EOF\nabc\n").message.contains("unterminated heredoc"));
    assert!(
        error("COPY a <<EOF\nEOF").message.contains("cannot accept a heredoc as a destination")
    );
    let Kind::Run(plain) = one("RUN [\"sh\", \"-c\", \"cat <<EOF\"]") else { panic!("no RUN") };
    assert!(plain.heredocs.is_empty());
    let Kind::Run(shift) = one("RUN echo $((1<<2))") else { panic!("no RUN") };
    assert!(shift.heredocs.is_empty());
}

#[test]
fn triggers_are_kept_as_text() {
    let Kind::OnBuild(trigger) = one("onbuild  COPY <<EOF /x\nhi\nEOF\n") else { panic!("none") };
    assert_eq!(trigger.expression, "COPY <<EOF /x\nhi\nEOF");
    assert!(error("ONBUILD ONBUILD RUN x").message.contains("Chaining ONBUILD"));
    assert!(error("ONBUILD FROM x").message.contains("FROM isn't allowed as an ONBUILD trigger"));
    assert!(error("ONBUILD maintainer x").message.contains("MAINTAINER isn't allowed"));
    assert!(error("ONBUILD COYP a b").message.contains("unknown instruction: COYP"));
}

#[test]
fn health_checks() {
    let text = "HEALTHCHECK --interval=5m --timeout=3s --start-period=1m30s --start-interval=500ms \
                --retries=3 CMD curl -f http://localhost/ || exit 1";
    let Kind::Healthcheck(check) = one(text) else { panic!("no HEALTHCHECK") };
    assert_eq!(check.test, ["CMD-SHELL", "curl -f http://localhost/ || exit 1"]);
    assert_eq!((check.interval_ns, check.retries), (300_000_000_000, 3));
    assert_eq!(check.start_interval_ns, 500_000_000);
    let Kind::Healthcheck(check) = one("HEALTHCHECK cmd [\"a\"]") else { panic!("none") };
    assert_eq!(check.test, ["CMD", "a"]);
    assert!(matches!(one("HEALTHCHECK none"), Kind::Healthcheck(c) if c.test == ["NONE"]));
    for (text, want) in [
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK FOO x", "Unknown type \"FOO\" in HEALTHCHECK (try CMD)"),
        ("HEALTHCHECK --interval=1us CMD x", "Interval \"interval\" cannot be less than 1ms"),
        ("HEALTHCHECK --timeout=x CMD y", "time: invalid duration \"x\""),
        ("HEALTHCHECK --retries=-1 CMD y", "--retries cannot be negative (-1)"),
    ] {
        assert!(error(text).message.ends_with(want), "{text}: {}", error(text).message);
    }
}

#[test]
fn errors_point_at_the_word() {
    let err = error("FROM x\nRUN a \\\n  && b\n\n  RNU --foo x\n");
    assert_eq!(
        err.message,
        "dockerfile parse error on line 5: unknown instruction: RNU (did you mean RUN?)"
    );
    let location = err.location.unwrap();
    assert_eq!(location.to_string(), "Dockerfile:5:3");
    assert!(location.excerpt().contains("   5 | >>>   RNU --foo x\n"));
    let err = error("FROM x\nCOPY \\\n   --chwon=1 \\\n a b");
    assert!(err.message.contains("unknown flag: --chwon (did you mean chown?)"));
    assert_eq!(err.location.unwrap().to_string(), "Dockerfile:3:4");
    assert_eq!(error("").message, "the Dockerfile cannot be empty");
    assert_eq!(error("# only\n\n").message, "file with no instructions");
    for (text, want) in [
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("USER", "USER requires exactly one argument"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ("VOLUME [\" \"]", "VOLUME specified can not be an empty string"),
        ("SHELL bash", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =x", "ARG names can not be blank"),
        ("CMD --x", "unknown flag: --x"),
    ] {
        assert!(error(text).message.ends_with(want), "{text}: {}", error(text).message);
    }
}

#[test]
fn hostile_texts_are_bounded() {
    let many = "RUN x\n".repeat(MAX_INSTRUCTIONS + 1);
    assert!(error(&many).message.contains("more than"));
    let continued = format!("FROM x\nRUN a{}", " \\\n b".repeat(100_000));
    assert_eq!(parse(&continued).instructions[1].span, Span::lines(2, 100_002));
    let comments = format!("{}FROM x\n", "# c\n".repeat(100_000));
    assert_eq!(parse(&comments).instructions[0].span, Span::lines(100_001, 100_001));
    let heredoc = format!("FROM x\nRUN <<E\n{}E\n", "line\n".repeat(200_000));
    let Kind::Run(run) = &parse(&heredoc).instructions[1].kind else { panic!("no RUN") };
    assert_eq!(run.heredocs[0].content.len(), 1_000_000);
    assert!(error(&"x".repeat(MAX_LINE_BYTES + 1)).message.contains("line greater than"));
    assert!(error("FROM x\nRUN a\0b").message.contains("line 2: NUL"));
    assert!(error(&format!("FROM x\n{}", "ONBUILD ".repeat(10_000))).message.contains("Chaining"));
    assert!(!command(&format!("CMD {}", "[".repeat(100_000))).exec, "too deep for JSON");
    let invalid = Dockerfile::parse("Dockerfile", b"FROM x\nRUN \xff\xfe <<\xff\n\xff\n").unwrap();
    assert_eq!(invalid.instructions.len(), 2);
    let many_docs = format!("RUN {}\n", "<<E ".repeat(10_000));
    assert!(error(&many_docs).message.contains("unterminated"));
}
