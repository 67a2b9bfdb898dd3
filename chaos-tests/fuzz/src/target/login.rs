//! What strangers send to log in, what STS may answer of them, and the batch tokens that they show afterwards.

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use conclave_core::Error;
use conclave_core::auth::mfa::Codes;
use conclave_core::auth::token::{self, TokenCaches};
use conclave_core::auth::{Method, MethodRequest, Step, Work};
use conclave_core::crypto::Carried;
use conclave_core::engine::mount::{self, MountTable};
use conclave_core::errand::{Brought, Errands, Task};
use conclave_core::plan::{Context, Operation, Plan};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::engine::root;
use super::{check_refusal, first_line, object};
use crate::canary::{self, planted};
use crate::sealing::BARRIER;
use crate::state::{START_MS, State};

const STS: &str = "https://sts.amazonaws.com/";
const ROLE_ARN: &str = "arn:aws:iam::123456789012:role/web";
const SESSION_ARN: &str = "arn:aws:sts::123456789012:assumed-role/web/s";
/// As clients sign it: the answer to it is what varies.
const SIGNED: &str = r#"{"role":"web","iam_http_request_method":"POST","iam_request_url":"aHR0cHM6Ly9zdHMuYW1hem9uYXdzLmNvbS8=","iam_request_body":"QWN0aW9uPUdldENhbGxlcklkZW50aXR5JlZlcnNpb249MjAxMS0wNi0xNQ==","iam_request_headers":{"Authorization":"AWS4-HMAC-SHA256 Credential=A/1/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0"}}"#;

/// A mount of each method, with somebody who could log in.
static MOUNTED: LazyLock<State> = LazyLock::new(|| {
    let mut door = Door { state: State::default(), rng: StdRng::seed_from_u64(11) };
    let role = json!({ "bound_iam_principal_arn": ROLE_ARN, "resolve_aws_unique_ids": false, "token_type": "batch" });
    for (path, body) in [
        ("sys/auth/userpass", json!({ "type": "userpass" })),
        ("sys/auth/approle", json!({ "type": "approle" })),
        ("sys/auth/aws", json!({ "type": "aws" })),
        ("auth/approle/role/app", json!({ "role_id": "the-role" })),
        ("auth/approle/role/app/custom-secret-id", json!({ "secret_id": "the-secret" })),
        ("auth/aws/role/web", role),
    ] {
        let body = body.as_object().expect("it is one");
        let plan = match path.strip_prefix("sys/auth/") {
            Some(path) => door.enable(path, body),
            None => match door.ask(path, body, &Errands::default()) {
                Ok(Step::Done(plan)) => plan,
                _ => panic!("{path} is written at once"),
            },
        };
        door.state.commit(plan.txn);
    }
    door.state
});

struct Door {
    state: State,
    rng: StdRng,
}

impl Door {
    fn open() -> Self {
        Self { state: MOUNTED.clone(), rng: StdRng::seed_from_u64(12) }
    }

    fn table(&self) -> MountTable {
        MountTable::load(&self.state, &BARRIER).expect("the table was written by a plan")
    }

    fn enable(&mut self, path: &str, body: &Map<String, Value>) -> Plan {
        let (table, permit) = (self.table(), root(Operation::Write));
        let mut ctx = Context { view: &self.state, barrier: &BARRIER, now_ms: START_MS, rng: &mut self.rng };
        mount::enable_auth(&mut ctx, &permit, &table, path, body).expect("nothing is there yet")
    }

    fn is_login(&self, path: &str) -> bool {
        let table = self.table();
        let found = table.resolve(path).and_then(|(mount, rest)| Some((Method::of(mount)?, rest)));
        found.is_some_and(|(method, rest)| method.is_login(rest))
    }

    /// One decision: a login, or what a holder of the root token asks.
    fn ask(&mut self, path: &str, body: &Map<String, Value>, errands: &Errands) -> Result<Step, Error> {
        let table = self.table();
        let (mount, rest) = table.resolve(path).ok_or(Error::NotFound)?;
        let method = Method::of(mount).ok_or(Error::NotFound)?;
        let operation = Operation::Write;
        let query = Default::default();
        let request = MethodRequest {
            operation,
            path: rest,
            full_path: path,
            query: &query,
            body,
            from: None,
            password: None,
            errands,
            codes: &Codes::default(),
            certificates: None,
        };
        let mut ctx = Context { view: &self.state, barrier: &BARRIER, now_ms: START_MS, rng: &mut self.rng };
        if method.is_login(rest) {
            method.login(&mut ctx, mount, &request)
        } else {
            method.handle(&mut ctx, &root(operation), mount, &request)
        }
    }
}

/// Where somebody logs in, below `auth/`, in the first line; then the body.
pub fn login(input: &[u8]) {
    let (path, body) = first_line(input);
    let Ok(path) = str::from_utf8(path) else { return };
    let path = format!("auth/{path}");
    let mut door = Door::open();
    if !door.is_login(&path) {
        return;
    }
    let mut body = match object(body) {
        Ok(body) => body,
        Err(failure) => return check_refusal(&failure),
    };
    canary::plant(&mut body, &[]);
    match door.ask(&path, &body, &Errands::default()) {
        // A password is checked before anybody gets anything.
        Ok(Step::Work(Work::Password(_))) => assert!(path.starts_with("auth/userpass/login/")),
        Ok(Step::Work(Work::Errand(errand))) => {
            assert_eq!((errand.url.as_str(), path.as_str()), (STS, "auth/aws/login"), "only STS is asked");
            let Task::Post(asked) = &errand.task else { panic!("it is signed as a POST") };
            let asked = str::from_utf8(asked).expect("it was text");
            assert!(asked.contains("Action=GetCallerIdentity") && asked.matches("Action").count() == 1);
            for (name, value) in &errand.headers {
                assert!(name.bytes().chain(value.bytes()).all(|byte| (b' '..=b'~').contains(&byte)));
                assert!(!matches!(name.as_str(), "transfer-encoding" | "connection" | "content-length"));
            }
        }
        Ok(Step::Done(plan)) => {
            let id = |name: &str| body.get(name).and_then(Value::as_str);
            let knew = (id("role_id"), id("secret_id")) == (Some("the-role"), Some("the-secret"));
            assert!(knew && path == "auth/approle/login", "a stranger has a token");
            assert!(plan.reply.auth.is_some() && !plan.txn.is_empty());
        }
        Ok(Step::Refused(_, error)) | Err(error) => refused(error),
    }
}

/// What STS answers: the type of its content in the first line, then the content.
pub fn sts_answer(input: &[u8]) {
    let (content_type, answer) = first_line(input);
    let Ok(content_type) = str::from_utf8(content_type) else { return };
    let body: Map<String, Value> = serde_json::from_str(SIGNED).expect("it is JSON");
    let mut door = Door::open();
    let Ok(Step::Work(Work::Errand(errand))) = door.ask("auth/aws/login", &body, &Errands::default()) else {
        panic!("STS must be asked");
    };
    let answer = planted(&String::from_utf8_lossy(answer));
    let brought = Brought {
        status: 200,
        content_type: content_type.to_owned(),
        body: Zeroizing::new(answer.clone().into_bytes()),
    };
    let mut errands = Errands::default();
    errands.add(errand, Arc::new(Ok(brought)));
    match door.ask("auth/aws/login", &body, &errands) {
        Ok(Step::Done(plan)) => {
            let is_vouched = content_type.starts_with("text/xml")
                && answer.contains("GetCallerIdentityResult")
                && [ROLE_ARN, SESSION_ARN]
                    .iter()
                    .any(|arn| answer.contains(arn.rsplit('/').next().unwrap_or(arn)));
            assert!(is_vouched && plan.reply.auth.is_some(), "nobody vouched for him");
        }
        Ok(_) => panic!("it was answered"),
        Err(Error::Upstream(sentence)) => canary::assert_absent(&sentence),
        Err(error) => refused(error),
    }
}

/// A batch token: as it is shown, or, if the first byte is odd, what is sealed in it.
pub fn batch_token(input: &[u8]) {
    let Some((&kind, rest)) = input.split_first() else { return };
    let is_sealed = kind & 1 == 1;
    let text = if is_sealed {
        let mut rng = StdRng::seed_from_u64(13);
        format!("b.{}", BASE64.encode(BARRIER.seal_carried(Carried::BatchToken, rest, &mut rng)))
    } else {
        format!("b.{}", String::from_utf8_lossy(rest))
    };
    let state = &*MOUNTED;
    match token::identify(state, &BARRIER, &TokenCaches::default(), START_MS, &text, None) {
        Ok(identified) => {
            assert!(is_sealed, "a token that nobody made");
            assert!(identified.expires_at_ms > START_MS, "a batch token has an end");
            // Of what nobody reads of it, escapes need not be those of any sign.
            if let Ok(claims) = serde_json::from_slice::<Value>(rest) {
                assert_eq!(json!(identified.entry.policies), claims["p"]);
            }
        }
        Err(error) => {
            assert!(matches!(error, Error::Denied | Error::Corrupt(_)), "{error}");
            assert!(is_sealed || error == Error::Denied, "a stranger learns more than a refusal");
        }
    }
}

fn refused(error: Error) {
    // Nothing at a path is an answer like another.
    if error != Error::NotFound {
        check_refusal(&error.into());
    }
}
