//! Whom an ARN names, and the one spelling by which roles are bound to him.

/// Longest ARN, in bytes: AWS makes none that is longer.
const ARN_BYTES_MAX: usize = 2_048;
const ACCOUNT_DIGITS: usize = 12;

/// What kind of principal can log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    User,
    Role,
    /// Somebody who took on a role for a while.
    AssumedRole,
}

/// A user or role of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    partition: String,
    pub account: String,
    kind: Kind,
    /// Without the path before it, which STS does not tell of assumed roles.
    pub name: String,
    /// As whom the role was assumed.
    pub session: Option<String>,
}

/// Not the ARN of somebody who can log in. Says nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPrincipal;

impl Principal {
    /// Reads `arn:PARTITION:iam::ACCOUNT:user/PATH/NAME`, `...:role/PATH/NAME` and
    /// `arn:PARTITION:sts::ACCOUNT:assumed-role/NAME/SESSION`.
    ///
    /// # Errors
    /// [`NoPrincipal`]: anything else, such as an account's root or a federated user.
    pub fn parse(arn: &str) -> Result<Self, NoPrincipal> {
        if arn.len() > ARN_BYTES_MAX || !arn.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(NoPrincipal);
        }
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, service, "", account, resource] = parts[..] else { return Err(NoPrincipal) };
        if !is_partition(partition) || !is_account(account) {
            return Err(NoPrincipal);
        }
        let segments: Vec<&str> = resource.split('/').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return Err(NoPrincipal);
        }
        let (kind, name, session) = match (service, &segments[..]) {
            ("sts", ["assumed-role", name, session]) => (Kind::AssumedRole, name, Some(session)),
            ("iam", ["user", .., name]) => (Kind::User, name, None),
            ("iam", ["role", .., name]) => (Kind::Role, name, None),
            _ => return Err(NoPrincipal),
        };
        if !is_name(name) || !session.is_none_or(|session| is_name(session)) {
            return Err(NoPrincipal);
        }
        Ok(Self {
            partition: partition.to_owned(),
            account: account.to_owned(),
            kind,
            name: (*name).to_owned(),
            session: session.map(|session| (*session).to_owned()),
        })
    }

    /// The spelling that says all that is known of an assumed role and of its kin: the account, the kind and the name. No
    /// two principals of an account have the same, whatever their paths.
    pub fn canonical(&self) -> String {
        let kind = match self.kind {
            Kind::User => "user",
            Kind::Role | Kind::AssumedRole => "role",
        };
        format!("arn:{}:iam::{}:{kind}/{}", self.partition, self.account, self.name)
    }
}

/// `aws`, `aws-cn`, `aws-us-gov` and their kin.
fn is_partition(text: &str) -> bool {
    let mut words = text.split('-');
    words.next() == Some("aws")
        && words.all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}

pub fn is_account(text: &str) -> bool {
    text.len() == ACCOUNT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Of the signs that IAM allows in names of users, roles and sessions.
fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_assumed_role_is_its_role_and_no_path_counts() {
        for (arn, canonical) in [
            ("arn:aws:sts::123456789012:assumed-role/web/i-1", "arn:aws:iam::123456789012:role/web"),
            ("arn:aws:iam::123456789012:role/web", "arn:aws:iam::123456789012:role/web"),
            ("arn:aws:iam::123456789012:role/a/b/web", "arn:aws:iam::123456789012:role/web"),
            ("arn:aws:iam::123456789012:user/ann", "arn:aws:iam::123456789012:user/ann"),
            ("arn:aws:iam::123456789012:user/staff/ann@x.org", "arn:aws:iam::123456789012:user/ann@x.org"),
            (
                "arn:aws-us-gov:sts::123456789012:assumed-role/web/x",
                "arn:aws-us-gov:iam::123456789012:role/web",
            ),
            ("arn:aws-cn:iam::123456789012:user/ann", "arn:aws-cn:iam::123456789012:user/ann"),
        ] {
            assert_eq!(Principal::parse(arn).unwrap().canonical(), canonical, "{arn}");
        }
        let assumed = Principal::parse("arn:aws:sts::123456789012:assumed-role/web/i-1").unwrap();
        assert_eq!((assumed.name.as_str(), assumed.session.as_deref()), ("web", Some("i-1")));
    }

    #[test]
    fn accounts_partitions_and_kinds_are_told_apart() {
        let of = |arn: &str| Principal::parse(arn).unwrap().canonical();
        let all = [
            of("arn:aws:iam::123456789012:role/web"),
            of("arn:aws:iam::123456789013:role/web"),
            of("arn:aws-cn:iam::123456789012:role/web"),
            of("arn:aws:iam::123456789012:user/web"),
            of("arn:aws:iam::123456789012:role/Web"),
        ];
        for (number, one) in all.iter().enumerate() {
            assert!(all[number + 1..].iter().all(|other| other != one), "{one}");
        }
    }

    #[test]
    fn whoever_is_neither_user_nor_role_is_nobody() {
        for arn in [
            "",
            "arn",
            "arn:aws:iam::123456789012:root",
            "arn:aws:sts::123456789012:federated-user/ann",
            "arn:aws:iam::123456789012:instance-profile/web",
            "arn:aws:iam::123456789012:group/web",
            "arn:aws:sts::123456789012:assumed-role/web",
            "arn:aws:sts::123456789012:assumed-role/web/a/b",
            "arn:aws:sts::123456789012:assumed-role//a",
            "arn:aws:iam::123456789012:assumed-role/web/a",
            "arn:aws:sts::123456789012:role/web",
            "arn:aws:s3::123456789012:user/ann",
            "arn:aws:iam:us-east-1:123456789012:user/ann",
            "arn:aws:iam::12345678901:user/ann",
            "arn:aws:iam::1234567890123:user/ann",
            "arn:aws:iam::12345678901a:user/ann",
            "arn:aws:iam::١٢٣٤٥٦٧٨٩٠١٢:user/ann",
            "arn:aws:iam::123456789012:user/",
            "arn:aws:iam::123456789012:user",
            "arn:aws:iam::123456789012:user/ann:x",
            "arn:aws:iam::123456789012:user/an n",
            "arn:aws:iam::123456789012:user/*",
            "arn:aws:iam::123456789012:user/ann\u{0}",
            "arn:aws:iam::123456789012:user/änn",
            "ARN:aws:iam::123456789012:user/ann",
            "arn:evil:iam::123456789012:user/ann",
            "arn:aws-:iam::123456789012:user/ann",
            "arn:aws-CN:iam::123456789012:user/ann",
            " arn:aws:iam::123456789012:user/ann",
        ] {
            assert_eq!(Principal::parse(arn), Err(NoPrincipal), "{arn:?}");
        }
        assert!(Principal::parse(&format!("arn:aws:iam::123456789012:user/{}", "a".repeat(3_000))).is_err());
    }

    proptest! {
        #[test]
        fn what_is_canonical_is_its_own_canonical_form(arn in "arn:aws:(iam|sts)::[0-9]{12}:(user|role|assumed-role)(/[a-z]{1,3}){1,3}") {
            if let Ok(principal) = Principal::parse(&arn) {
                let canonical = principal.canonical();
                prop_assert_eq!(Principal::parse(&canonical).unwrap().canonical(), canonical);
            }
        }
    }
}
