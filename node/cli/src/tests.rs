//! Whole commands against a real HTTP server that answers from a script: what is asked, what is printed, how it exits.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use clap::Parser as _;

use crate::arguments::{Arguments, with_two_dashes};
use crate::session::Session;

/// What the server expects next, as `METHOD path body`, and its answer.
type Step = (&'static str, u16, &'static str);

/// How a command ended: its exit code, and what it printed, or why it failed.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    code: u8,
    text: String,
}

/// Runs `conclave LINE` against a server that goes through `script`, which must be used up.
fn run(line: &str, script: &[Step]) -> Ended {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = serve(listener, script.to_vec());
    let ended = run_at(&address, line);
    // An empty request tells the server that the command has ended.
    drop(TcpStream::connect(address.trim_start_matches("http://")).unwrap());
    assert_eq!(server.join().unwrap(), Vec::<String>::new(), "steps that were not asked for: {line}");
    ended
}

fn run_at(address: &str, line: &str) -> Ended {
    let words = ["conclave", "--address", address].into_iter().chain(line.split_whitespace());
    let arguments = Arguments::try_parse_from(with_two_dashes(words.map(Into::into).collect())).unwrap();
    let format = arguments.global.format.is_none().then_some(crate::output::Format::Table);
    let mut session = Session::new(arguments.global, false).unwrap();
    // Not what the environment of the tests says.
    session.format = format.unwrap_or(session.format);
    let local = crate::Local {
        version: "0",
        server: |_| std::process::ExitCode::FAILURE,
        recover: |_, _| Err("not asked for".to_owned()),
        audit_verify: |_, _, _| Err("not asked for".to_owned()),
    };
    let printed = crate::evaluate(arguments.command, &session, &local)
        .and_then(|report| Ok((report.code(), report.render(session.format, session.field.as_deref())?)));
    match printed {
        Ok((code, text)) => Ended { code, text },
        Err(failure) => Ended { code: failure.code(), text: failure.to_string() },
    }
}

/// Answers until a connection brings nothing, and returns the steps that are left.
fn serve(listener: TcpListener, script: Vec<Step>) -> JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let mut script = VecDeque::from(script);
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(asked) = read_request(&mut stream) else { break };
            let (status, body) = match script.pop_front() {
                Some((expected, status, body)) if expected == asked => (status, body.to_owned()),
                other => {
                    let expected = other.map_or("nothing", |step| step.0);
                    (
                        400,
                        serde_json::json!({"errors": [format!("expected {expected}, got {asked}")]})
                            .to_string(),
                    )
                }
            };
            let length =
                if status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
            write!(stream, "HTTP/1.1 {status} X\r\nconnection: close\r\n{length}\r\n{body}").unwrap();
        }
        script.into_iter().map(|step| step.0.to_owned()).collect()
    })
}

fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim_end().to_lowercase();
        if let Some(text) = header.strip_prefix("content-length: ") {
            length = text.parse().ok()?;
        }
        if header.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?, words.next()?.trim_start_matches("/v1/"));
    Some(format!("{method} {path} {}", String::from_utf8(body).ok()?).trim_end().to_owned())
}

const MOUNT_OF_A: Step = ("GET sys/internal/ui/mounts/secret/a", 200, MOUNT);
const MOUNT: &str = r#"{"request_id":"r","data":{"path":"secret/","type":"kv","options":{"version":"2"}}}"#;
const WRITTEN: &str = r#"{"request_id":"r","lease_id":"","lease_duration":0,"renewable":false,"warnings":null,
    "data":{"created_time":"t","custom_metadata":null,"deletion_time":"","destroyed":false,"version":2}}"#;
const SECRET: &str = r#"{"request_id":"r","lease_id":"","lease_duration":0,"renewable":false,"warnings":null,
    "data":{"data":{"b":"c","n":1.50},"metadata":{"created_time":"t","custom_metadata":null,"deletion_time":"",
    "destroyed":false,"version":1}}}"#;
const DELETED: &str = r#"{"request_id":"r","data":{"data":null,"metadata":{"created_time":"t","custom_metadata":null,
    "deletion_time":"d","destroyed":false,"version":1}}}"#;
const NOTHING: &str = r#"{"errors":[]}"#;

#[test]
fn a_secret_is_shown_with_its_metadata() {
    let ended = run("kv get secret/a", &[MOUNT_OF_A, ("GET secret/data/a", 200, SECRET)]);
    let expect = "\
== Secret Path ==
secret/data/a

======= Metadata =======
Key                Value
---                -----
created_time       t
custom_metadata    <nil>
deletion_time      n/a
destroyed          false
version            1

== Data ==
Key    Value
---    -----
b      c
n      1.50
";
    assert_eq!(ended, Ended { code: 0, text: expect.to_owned() });
}

#[test]
fn a_field_of_a_secret_is_printed_alone() {
    let script = [MOUNT_OF_A, ("GET secret/data/a?version=1", 200, SECRET)];
    let get = |line: &str| run(line, &script);
    assert_eq!(get("kv get -field=n -version=1 secret/a"), Ended { code: 0, text: "1.50".to_owned() });
    assert_eq!(
        get("kv get -field=data -version=1 secret/a"),
        Ended { code: 0, text: "map[b:c n:1.50]".to_owned() }
    );
    assert_eq!(get("kv get -field=version -version=1 secret/a").code, 1);
}

#[test]
fn a_secret_as_json_is_the_servers_answer() {
    let ended = run("kv get -format=json secret/a", &[MOUNT_OF_A, ("GET secret/data/a", 200, SECRET)]);
    let printed: serde_json::Value = serde_json::from_str(&ended.text).unwrap();
    assert_eq!(printed, serde_json::from_str::<serde_json::Value>(SECRET).unwrap());
    assert!(ended.text.contains("\"n\": 1.50"));
}

#[test]
fn a_missing_secret_is_a_no_and_a_deleted_one_still_has_metadata() {
    let missing = run("kv get secret/a", &[MOUNT_OF_A, ("GET secret/data/a", 404, NOTHING)]);
    assert_eq!(missing, Ended { code: 1, text: "No value found at secret/data/a".to_owned() });
    let deleted = run("kv get secret/a", &[MOUNT_OF_A, ("GET secret/data/a", 404, DELETED)]);
    assert_eq!(deleted.code, 0);
    assert!(
        deleted.text.contains("deletion_time      d") && !deleted.text.contains("Data =="),
        "{}",
        deleted.text
    );
    let field = run("kv get -field=b secret/a", &[MOUNT_OF_A, ("GET secret/data/a", 404, DELETED)]);
    assert_eq!(field.code, 1);
}

#[test]
fn the_server_says_no_in_its_own_words() {
    let denied = ("GET sys/internal/ui/mounts/secret/a", 403, r#"{"errors":["permission denied"]}"#);
    let ended = run("kv get secret/a", &[denied]);
    assert_eq!(ended.code, 1);
    assert!(
        ended.text.starts_with("Error: permission denied (status 403 from http://127.0.0.1:"),
        "{}",
        ended.text
    );
}

#[test]
fn a_server_that_cannot_be_reached_is_exit_code_2() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let ended = run_at(&address, "--timeout 1 status");
    assert_eq!(ended.code, 2);
    assert!(ended.text.contains("no node could be reached"), "{}", ended.text);
}

#[test]
fn data_is_written_with_and_without_check_and_set() {
    let put = |line: &str, asked: &'static str| run(line, &[MOUNT_OF_A, (asked, 200, WRITTEN)]);
    let ended = put("kv put secret/a b=c", r#"PUT secret/data/a {"data":{"b":"c"},"options":{}}"#);
    let expect = "\
== Secret Path ==
secret/data/a

======= Metadata =======
Key                Value
---                -----
created_time       t
custom_metadata    <nil>
deletion_time      n/a
destroyed          false
version            2
";
    assert_eq!(ended, Ended { code: 0, text: expect.to_owned() });
    let asked = r#"PUT secret/data/a {"data":{"b":"c"},"options":{"cas":0}}"#;
    assert_eq!(put("kv put -field=version -cas=0 secret/a b=c", asked).text, "2");
}

#[test]
fn with_mount_the_path_is_only_the_key() {
    let mount = ("GET sys/internal/ui/mounts/secret", 200, MOUNT);
    let ended = run("kv get -mount=secret -field=b /a/", &[mount, ("GET secret/data/a", 200, SECRET)]);
    assert_eq!(ended.text, "c");
    let listed = ("GET secret/metadata?list=true", 200, r#"{"request_id":"r","data":{"keys":["a","b/"]}}"#);
    assert_eq!(run("kv list -mount=secret", &[mount, listed]).text, "Keys\n----\na\nb/\n");
    assert_eq!(run("kv list -format=json secret/", &[mount, listed]).text, "[\n  \"a\",\n  \"b/\"\n]\n");
    assert_eq!(run("kv get secret", &[mount]).code, 2);
}

#[test]
fn a_mount_without_versions_is_used_as_it_is() {
    let mount = (
        "GET sys/internal/ui/mounts/kv1/a",
        200,
        r#"{"request_id":"r","data":{"path":"kv1/","options":null}}"#,
    );
    let ended = run("kv put kv1/a b=c", &[mount, (r#"PUT kv1/a {"b":"c"}"#, 204, "")]);
    assert_eq!(ended.text, "Success! Data written to: kv1/a\n");
    let secret = ("GET kv1/a", 200, r#"{"request_id":"r","data":{"b":"c"}}"#);
    assert_eq!(
        run("kv get kv1/a", &[mount, secret]).text,
        "== Data ==\nKey    Value\n---    -----\nb      c\n"
    );
    for line in [
        "kv undelete -versions=1 kv1/a",
        "kv metadata get kv1/a",
        "kv patch kv1/a b=c",
        "kv put -cas=1 kv1/a b=c",
    ] {
        assert_eq!(run(line, &[mount]).code, 2, "{line}");
    }
}

#[test]
fn versions_are_deleted_brought_back_and_destroyed() {
    let done = |line: &str, asked: &'static str| run(line, &[MOUNT_OF_A, (asked, 204, "")]).code;
    assert_eq!(done("kv delete secret/a", "DELETE secret/data/a"), 0);
    assert_eq!(done("kv delete -versions=1,2 secret/a", r#"POST secret/delete/a {"versions":["1","2"]}"#), 0);
    assert_eq!(done("kv undelete -versions=1 secret/a", r#"PUT secret/undelete/a {"versions":["1"]}"#), 0);
    assert_eq!(done("kv destroy -versions=1 secret/a", r#"PUT secret/destroy/a {"versions":["1"]}"#), 0);
    assert_eq!(done("kv metadata delete secret/a", "DELETE secret/metadata/a"), 0);
}

#[test]
fn a_patch_falls_back_to_reading_and_writing_where_patching_is_not_allowed() {
    let patch = r#"PATCH secret/data/a {"data":{"n":null,"x":"y"},"options":{}}"#;
    let line = "kv patch -remove-data=n secret/a x=y";
    assert_eq!(run(line, &[MOUNT_OF_A, (patch, 200, WRITTEN)]).code, 0);
    let put = r#"PUT secret/data/a {"data":{"b":"c","x":"y"},"options":{"cas":1}}"#;
    let script = [MOUNT_OF_A, (patch, 405, NOTHING), ("GET secret/data/a", 200, SECRET), (put, 200, WRITTEN)];
    assert_eq!(run(line, &script).code, 0);
    let only =
        run("kv patch -method=patch -remove-data=n secret/a x=y", &[MOUNT_OF_A, (patch, 403, NOTHING)]);
    assert_eq!(only.code, 1);
    assert_eq!(
        run(
            "kv patch secret/a x=y",
            &[MOUNT_OF_A, (r#"PATCH secret/data/a {"data":{"x":"y"},"options":{}}"#, 404, NOTHING,)]
        )
        .text,
        "No value found at secret/data/a"
    );
}

#[test]
fn a_rollback_writes_the_old_data_under_check_and_set() {
    let newest = r#"{"request_id":"r","data":{"data":null,"metadata":{"version":5}}}"#;
    let put = r#"PUT secret/data/a {"data":{"b":"c","n":1.50},"options":{"cas":5}}"#;
    let script = [
        MOUNT_OF_A,
        // Deleted, and still the newest.
        ("GET secret/data/a", 404, newest),
        ("GET secret/data/a?version=1", 200, SECRET),
        (put, 200, WRITTEN),
    ];
    assert_eq!(run("kv rollback -version=1 -field=version secret/a", &script).text, "2");
    let script =
        [MOUNT_OF_A, ("GET secret/data/a", 200, SECRET), ("GET secret/data/a?version=3", 404, DELETED)];
    let ended = run("kv rollback -version=3 secret/a", &script);
    assert!(ended.code == 1 && ended.text.contains("undelete it first"), "{}", ended.text);
}

#[test]
fn metadata_is_patched_with_null_for_what_goes() {
    let asked = r#"PATCH secret/metadata/a {"custom_metadata":{"gone":null,"o":"p"},"max_versions":3}"#;
    let line = "kv metadata patch -custom-metadata=o=p -remove-custom-metadata=gone -max-versions=3 secret/a";
    assert_eq!(run(line, &[MOUNT_OF_A, (asked, 204, "")]).code, 0);
}

#[test]
fn a_mount_is_moved_to_the_end() {
    let script = [
        (
            r#"POST sys/remount {"from":"kv1","to":"kv2"}"#,
            200,
            r#"{"request_id":"r","data":{"migration_id":"m"}}"#,
        ),
        (
            "GET sys/remount/status/m",
            200,
            r#"{"request_id":"r","data":{"migration_info":{"status":"success"}}}"#,
        ),
    ];
    assert_eq!(
        run("secrets move kv1/ kv2/", &script).text,
        "Success! Moved the secrets engine kv1/ to kv2/\n"
    );
    let enable = (r#"POST sys/mounts/secret {"options":{"version":"2"},"type":"kv"}"#, 204, "");
    assert_eq!(
        run("secrets enable -path=secret -version=2 kv", &[enable]).text,
        "Success! Enabled the kv secrets engine at: secret/\n"
    );
}

#[test]
fn a_sealed_node_is_shown_and_told_by_the_exit_code() {
    let seal = |sealed: &'static str| ("GET sys/seal-status", 200, sealed);
    let leader = ("GET sys/leader", 503, r#"{"errors":["Vault is sealed"]}"#);
    let sealed = run("status", &[seal(r#"{"sealed":true,"t":2,"n":3,"progress":1}"#), leader]);
    assert_eq!(sealed.code, 1);
    assert!(sealed.text.contains("Unseal Progress    1/2"), "{}", sealed.text);
    let leader = ("GET sys/leader", 200, r#"{"is_self":true,"ha_enabled":true}"#);
    let unsealed = run("status -format=json", &[seal(r#"{"sealed":false}"#), leader]);
    assert_eq!(unsealed.code, 0);
    assert!(unsealed.text.contains("\"is_self\": true"), "{}", unsealed.text);
}

#[test]
fn init_and_unseal_are_sent_once() {
    let init =
        (r#"PUT sys/init {"secret_shares":5,"secret_threshold":3}"#, 503, r#"{"errors":["no leader"]}"#);
    let ended = run("operator init", &[init]);
    assert_eq!(ended.code, 1);
    assert!(ended.text.contains("no leader"), "{}", ended.text);
    let unseal = (r#"PUT sys/unseal {"key":"k"}"#, 200, r#"{"sealed":false,"t":2,"n":3}"#);
    assert_eq!(run("operator unseal -field=sealed k", &[unseal]).text, "false");
}

#[test]
fn a_join_token_comes_with_the_line_to_type() {
    let asked = (
        r#"POST sys/cluster/join-token {"ttl":"5m"}"#,
        200,
        r#"{"request_id":"r","data":{"token":"cj1.x"}}"#,
    );
    let ended = run("join-token --ttl 5m", &[asked]);
    assert!(ended.text.contains("conclave join --addr http://127.0.0.1:"), "{}", ended.text);
    assert!(ended.text.contains("--token cj1.x"));
    let replacing = (r#"POST sys/cluster/join-token {"replace":"n2","ttl":null}"#, asked.1, asked.2);
    assert_eq!(run("join-token --replace n2", &[replacing]).code, 0);
    let join = (
        r#"PUT sys/storage/raft/join {"leader_api_addr":"https://m:8200","token":"cj1.x"}"#,
        200,
        r#"{"joined":true}"#,
    );
    assert_eq!(run("join --addr https://m:8200/ --token cj1.x", &[join]).code, 0);
}

#[test]
fn any_path_can_be_read_written_listed_and_deleted() {
    let read = ("GET sys/mounts/x?detailed=true", 200, r#"{"request_id":"r","data":{"a":"b"}}"#);
    assert_eq!(
        run("read sys/mounts/x detailed=true", &[read]).text,
        "Key    Value\n---    -----\na      b\n"
    );
    assert_eq!(run("read nothing", &[("GET nothing", 404, NOTHING)]).text, "No value found at nothing");
    assert_eq!(
        run("write sys/x a=b", &[(r#"PUT sys/x {"a":"b"}"#, 204, "")]).text,
        "Success! Data written to: sys/x\n"
    );
    assert_eq!(run("write sys/x", &[]).code, 2);
    assert_eq!(run("write -f sys/x", &[("PUT sys/x {}", 204, "")]).code, 0);
    assert_eq!(run("delete sys/x", &[("DELETE sys/x", 204, "")]).code, 0);
    let listed = ("GET x?list=true&after=a&limit=2", 200, r#"{"request_id":"r","data":{"keys":["b"]}}"#);
    assert_eq!(run("list --after a --limit 2 x/", &[listed]).text, "Keys\n----\nb\n");
}

#[test]
fn a_backup_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("backup.snap");
    let line = format!("operator snapshot save {}", path.display());
    let failed = run(&line, &[("GET sys/storage/raft/snapshot", 403, r#"{"errors":["permission denied"]}"#)]);
    assert_eq!((failed.code, std::fs::read_dir(folder.path()).unwrap().count()), (1, 0));
    assert_eq!(run(&line, &[("GET sys/storage/raft/snapshot", 200, "")]).code, 1);
    assert_eq!(run(&line, &[("GET sys/storage/raft/snapshot", 200, "bytes")]).code, 0);
    assert_eq!(std::fs::read(&path).unwrap(), b"bytes");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_token_is_made_renewed_and_ended_as_vault_spells_it() {
    let made = (
        r#"POST auth/token/create {"display_name":"ci","explicit_max_ttl":"2h","meta":{"a":"b"},"num_uses":3,"policies":["x","y"],"ttl":"1h"}"#,
        200,
        r#"{"request_id":"r","auth":{"client_token":"s.x","accessor":"acc","lease_duration":3600,"policies":["x","y"]}}"#,
    );
    let line = "token create -policy=x -policy y -ttl=1h -explicit-max-ttl=2h -use-limit=3 -display-name=ci -metadata a=b";
    let ended = run(line, &[made]);
    assert_eq!(ended.code, 0, "{}", ended.text);
    assert!(ended.text.contains("token_accessor    acc") && ended.text.contains("s.x"), "{}", ended.text);
    let orphan =
        (r#"POST auth/token/create-orphan {"renewable":false}"#, 200, r#"{"request_id":"r","auth":{}}"#);
    assert_eq!(run("token create -orphan -renewable=false", &[orphan]).code, 0);
    let step = |request| (request, 200, r#"{"request_id":"r","auth":{"client_token":"s.x"}}"#);
    for (line, request) in [
        ("token create -role=ci -type=batch", r#"POST auth/token/create/ci {"type":"batch"}"#),
        ("token create -role ci -entity-alias a", r#"POST auth/token/create/ci {"entity_alias":"a"}"#),
        ("token renew", "POST auth/token/renew-self {}"),
        ("token renew s.x", r#"POST auth/token/renew {"token":"s.x"}"#),
        ("token renew -increment=30m s.x", r#"POST auth/token/renew {"increment":"30m","token":"s.x"}"#),
        ("token renew -accessor acc", r#"POST auth/token/renew-accessor {"accessor":"acc"}"#),
        ("token lookup", "GET auth/token/lookup-self"),
        ("token lookup s.x", r#"POST auth/token/lookup {"token":"s.x"}"#),
        ("token lookup -accessor acc", r#"POST auth/token/lookup-accessor {"accessor":"acc"}"#),
        ("token revoke -self", "POST auth/token/revoke-self {}"),
        ("token revoke s.x", r#"POST auth/token/revoke {"token":"s.x"}"#),
        ("token revoke -mode=orphan s.x", r#"POST auth/token/revoke-orphan {"token":"s.x"}"#),
        ("token revoke -accessor acc", r#"POST auth/token/revoke-accessor {"accessor":"acc"}"#),
    ] {
        assert_eq!(run(line, &[step(request)]).code, 0, "{line}");
    }
    for line in ["token revoke", "token lookup -accessor", "token revoke -self -mode=orphan"] {
        assert_eq!(run(line, &[]).code, 2, "{line}");
    }
}

#[test]
fn what_a_token_may_do_is_shown_on_one_line() {
    let answer = r#"{"request_id":"r","data":{"capabilities":["list","read"],"a/b":["list","read"]}}"#;
    let own = (r#"POST sys/capabilities-self {"path":"a/b"}"#, 200, answer);
    assert_eq!(run("token capabilities a/b", &[own]).text, "list, read\n");
    let other = (r#"POST sys/capabilities {"path":"a/b","token":"s.x"}"#, 200, answer);
    assert_eq!(run("token capabilities s.x a/b", &[other]).text, "list, read\n");
    let by_accessor = (r#"POST sys/capabilities-accessor {"accessor":"acc","path":"a/b"}"#, 200, answer);
    assert_eq!(run("token capabilities -accessor acc a/b", &[by_accessor]).code, 0);
}

#[test]
fn policies_are_written_from_files_and_shown_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.hcl");
    std::fs::write(&path, "path \"a\" {}\n").unwrap();
    let written = (r#"PUT sys/policies/acl/app {"policy":"path \"a\" {}\n"}"#, 204, "");
    let ended = run(&format!("policy write app {}", path.display()), &[written]);
    assert_eq!((ended.code, ended.text.as_str()), (0, "Success! Uploaded policy: app\n"));
    let read = ("GET sys/policies/acl/app", 200, r#"{"request_id":"r","data":{"policy":"path \"a\" {}\n"}}"#);
    assert_eq!(run("policy read app", &[read]).text, "path \"a\" {}\n");
    assert_eq!(run("policy read none", &[("GET sys/policies/acl/none", 404, NOTHING)]).code, 1);
    let listed =
        ("GET sys/policies/acl?list=true", 200, r#"{"request_id":"r","data":{"keys":["app","root"]}}"#);
    assert_eq!(run("policy list", &[listed]).text, "app\nroot\n");
    assert_eq!(run("policy delete app", &[("DELETE sys/policies/acl/app", 204, "")]).code, 0);
    assert_eq!(run("policy write app /nowhere", &[]).code, 2);
}

#[test]
fn a_root_token_is_begun_and_made_step_by_step() {
    let status = r#"{"nonce":"n-1","started":true,"progress":1,"required":3,"complete":false,"encoded_token":"","otp":"","otp_length":4}"#;
    let none = r#"{"nonce":"","started":false,"progress":0,"required":3,"complete":false,"otp_length":4}"#;
    let begun = run(
        "operator generate-root -init -otp=abcd",
        &[(r#"PUT sys/generate-root/attempt {"otp":"abcd"}"#, 200, status)],
    );
    assert!(begun.code == 0 && begun.text.contains("n-1") && begun.text.contains("1/3"), "{}", begun.text);
    // Without a token: with a key, and a nonce that need not be asked for.
    let by_key = (r#"PUT sys/generate-root/attempt {"key":"KEY"}"#, 200, status);
    assert_eq!(run("operator generate-root -init KEY", &[by_key]).code, 0);
    let given = (r#"PUT sys/generate-root/update {"key":"KEY","nonce":"n-1"}"#, 200, status);
    assert_eq!(run("operator generate-root -nonce=n-1 KEY", &[given]).code, 0);
    let asked = ("GET sys/generate-root/attempt", 200, status);
    assert_eq!(run("operator generate-root KEY", &[asked, given]).code, 0);
    assert_eq!(run("operator generate-root KEY", &[("GET sys/generate-root/attempt", 200, none)]).code, 1);
    let cancelled = ("DELETE sys/generate-root/attempt {}", 204, "");
    assert_eq!(run("operator generate-root -cancel", &[cancelled]).code, 0);
    let password =
        run("operator generate-root -generate-otp", &[("GET sys/generate-root/attempt", 200, none)]);
    assert_eq!(password.text.trim_end().len(), 4);
    assert_eq!(run("operator generate-root -decode=EhERDQ -otp=abcd", &[]).text, "ssri\n");
}

#[test]
fn keys_are_replaced_step_by_step() {
    let status = r#"{"nonce":"n-1","started":true,"t":2,"n":3,"progress":0,"required":3,"verification_required":true}"#;
    let init = r#"PUT sys/rekey/init {"require_verification":true,"secret_shares":3,"secret_threshold":2}"#;
    assert_eq!(
        run("operator rekey -init -key-shares=3 -key-threshold=2 -verify", &[(init, 200, status)]).code,
        0
    );
    let made = r#"{"nonce":"n-1","complete":true,"keys_base64":["qg=="],"verification_nonce":"n-2"}"#;
    let asked = ("GET sys/rekey/init", 200, status);
    let given = (r#"PUT sys/rekey/update {"key":"KEY","nonce":"n-1"}"#, 200, made);
    let ended = run("operator rotate-keys KEY", &[asked, given]);
    assert!(ended.text.contains("Key 1: qg==") && ended.text.contains("--nonce=n-2"), "{}", ended.text);
    let shown =
        (r#"PUT sys/rekey/verify {"key":"NEW","nonce":"n-2"}"#, 200, r#"{"nonce":"n-2","complete":true}"#);
    assert!(run("operator rekey -verify -nonce=n-2 NEW", &[shown]).text.contains("replaced"));
    let recovery = ("DELETE sys/rekey-recovery-key/init {}", 204, "");
    assert_eq!(run("operator rekey -cancel -target=recovery", &[recovery]).code, 0);
}

#[test]
fn a_wrapped_answer_is_shown_as_its_token_and_unwrapped() {
    let wrapped = r#"{"request_id":"","data":null,"wrap_info":{"token":"s.w","accessor":"acc","ttl":60,
        "creation_time":"t","creation_path":"secret/data/a"},"warnings":null,"auth":null}"#;
    let ended = run("kv get -wrap-ttl=60s secret/a", &[MOUNT_OF_A, ("GET secret/data/a", 200, wrapped)]);
    assert!(ended.code == 0 && ended.text.contains("wrapping_token_ttl"), "{}", ended.text);
    let field = "read -wrap-ttl=60s -field=wrapping_token secret/data/a";
    assert_eq!(run(field, &[("GET secret/data/a", 200, wrapped)]).text, "s.w");
    let answer = r#"{"request_id":"r","data":{"a":"b"},"wrap_info":null,"auth":null}"#;
    let named = (r#"PUT sys/wrapping/unwrap {"token":"s.w"}"#, 200, answer);
    assert_eq!(run("unwrap -field=a s.w", &[named]).text, "b");
    let own = ("PUT sys/wrapping/unwrap {}", 200, answer);
    assert_eq!(run("unwrap -field=a", &[own]).text, "b");
    assert_eq!(run("status -wrap-ttl=60s", &[]).code, 2, "nothing of it can be wrapped");
}

const LOGGED_IN: &str = r#"{"request_id":"r","data":null,"auth":{"client_token":"s.new","accessor":"a",
    "lease_duration":3600,"renewable":true,"policies":["default"]}}"#;

#[test]
fn auth_mounts_are_kept_as_vault_spells_it() {
    let mounts = r#"{"request_id":"r","data":{"people/":{"type":"userpass","accessor":"auth_userpass_1",
        "description":"d"}}}"#;
    for (line, step, expect) in [
        (
            "auth enable -path=people -description=d userpass",
            ("POST sys/auth/people {\"description\":\"d\",\"type\":\"userpass\"}", 204, ""),
            "Success! Enabled userpass auth method at: people/\n",
        ),
        (
            "auth enable approle",
            ("POST sys/auth/approle {\"type\":\"approle\"}", 204, ""),
            "Success! Enabled approle auth method at: approle/\n",
        ),
        (
            "auth disable people/",
            ("DELETE sys/auth/people", 204, ""),
            "Success! Disabled the auth method (if it existed) at: people/\n",
        ),
        (
            "auth tune -max-lease-ttl=30m people",
            ("POST sys/auth/people/tune {\"max_lease_ttl\":\"30m\"}", 204, ""),
            "Success! Tuned the auth method at: people/\n",
        ),
        (
            "auth list",
            ("GET sys/auth", 200, mounts),
            "Path       Type        Accessor           Description\n\
             ----       ----        --------           -----------\n\
             people/    userpass    auth_userpass_1    d\n",
        ),
    ] {
        assert_eq!(run(line, &[step]), Ended { code: 0, text: expect.to_owned() }, "{line}");
    }
}

#[test]
fn a_login_shows_the_new_token_or_prints_it_alone() {
    let step = ("PUT auth/people/login/bob {\"password\":\"x\"}", 200, LOGGED_IN);
    let line = "login -method=userpass -path=people username=bob password=x";
    let shown = run(&format!("{line} -no-store"), &[step]);
    assert!(
        shown.text.contains("was not stored") && shown.text.contains("\ntoken              s.new\n"),
        "{shown:?}"
    );
    assert_eq!(run(&format!("{line} -token-only"), &[step]), Ended { code: 0, text: "s.new".to_owned() });
    let quiet = run(&format!("{line} -no-store -no-print"), &[step]);
    assert_eq!(quiet, Ended { code: 0, text: "Success! You are now authenticated.\n".to_owned() });
    let looked_up = r#"{"request_id":"r","data":{"accessor":"a","ttl":60}}"#;
    let by_token = run("login -no-store s.mine", &[("GET auth/token/lookup-self", 200, looked_up)]);
    assert_eq!(by_token.code, 0, "{by_token:?}");
}

#[test]
fn a_login_by_a_token_of_another_sends_what_it_is_given() {
    let step = ("PUT auth/jwt/login {\"jwt\":\"x.y.z\",\"role\":\"app\"}", 200, LOGGED_IN);
    assert_eq!(run("login -method=jwt -token-only role=app jwt=x.y.z", &[step]).text, "s.new");
    let step = ("PUT auth/k8s/login {\"jwt\":\"x\",\"role\":\"app\"}", 200, LOGGED_IN);
    assert_eq!(run("login -method=kubernetes -path=k8s -token-only role=app jwt=x", &[step]).code, 0);
}

#[test]
fn a_login_shows_the_second_factor_that_is_demanded() {
    let waiting = r#"{"request_id":"r","auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"w",
        "mfa_constraints":{"e":{"any":[{"type":"totp","id":"m","uses_passcode":true,"name":"phone"}]},
        "f":{"any":[{"type":"totp","id":"m","uses_passcode":true,"name":"phone"}]}}}}}"#;
    let validate = "PUT sys/mfa/validate {\"mfa_payload\":{\"m\":[\"123456\"]},\"mfa_request_id\":\"w\"}";
    for (line, first) in [
        (
            "login -token-only -method=userpass username=bob password=x passcode=123456",
            "PUT auth/userpass/login/bob {\"password\":\"x\"}",
        ),
        ("login -token-only -method=cert name=web passcode=123456", "PUT auth/cert/login {\"name\":\"web\"}"),
    ] {
        let ended = run(line, &[(first, 200, waiting), (validate, 200, LOGGED_IN)]);
        assert_eq!(ended, Ended { code: 0, text: "s.new".to_owned() }, "{line}");
    }
}

#[test]
fn a_login_that_cannot_be_asked_for_is_a_usage_error_and_a_wrong_password_a_no() {
    for line in [
        "login -method=ldap username=bob password=x",
        "login -method=userpass password=x",
        "login -method=userpass username=a/b password=x",
        "login -method=userpass username=bob password=x other=y",
        "login -method=cert other=y",
        "login a b",
    ] {
        assert_eq!(run(line, &[]).code, 2, "{line}");
    }
    let no = (
        "PUT auth/userpass/login/bob {\"password\":\"x\"}",
        400,
        r#"{"errors":["invalid username or password"]}"#,
    );
    let refused = run("login -method=userpass username=bob password=x", &[no]);
    assert!(refused.code == 1 && refused.text.contains("invalid username or password"), "{refused:?}");
}
