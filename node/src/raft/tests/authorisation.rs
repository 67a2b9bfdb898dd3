//! Who may speak to the cluster port, and as whom (I10).

use conclave_proto::log;
use conclave_proto::peer::cluster_client::ClusterClient;
use conclave_proto::peer::raft_client::RaftClient;
use conclave_proto::peer::{AppendRequest, VoteRequest, append_response};
use conclave_storage::convert::vote_to_proto;
use tonic::Code;

use super::*;
use crate::identity::ClusterId;
use crate::raft::channel::PeerChannel;
use crate::raft::dial::{Dialer, Purpose};
use crate::raft::fence::Fence;
use crate::raft::membership::MembershipError;
use crate::raft::peers::{PeerError, Peers};
use crate::raft::roster::Roster;

/// A channel to `to`, as whoever `identity` is, believing that it speaks to node `expected`.
fn dial(identity: Identity, to: &TestMember, expected: u64, purpose: Purpose) -> (Dialer, PeerChannel) {
    let roster = Roster::new();
    roster.hint(expected, &Node { cluster_addr: to.address.to_string(), ..Node::default() });
    let tls = LiveTls::new(identity).unwrap();
    let dialer = Dialer::new(tls, roster, Handle::current(), Handle::current());
    let channel = dialer.channel(expected, purpose);
    (dialer, channel)
}

fn vote(node_id: u64) -> VoteRequest {
    let vote = log::Vote { term: 1_000, node_id, committed: false };
    VoteRequest { vote: Some(vote), last_log_id: None, leadership_transfer: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_this_cluster_alone_lets_nobody_in() {
    let cluster = Cluster::start(1).await;
    let (_dialer, channel) = dial(cluster.identity(9), cluster.member(1), 1, Purpose::Replication);
    let refused = RaftClient::new(channel.clone()).vote(vote(9)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("not a member"), "{refused}");
    let refused = RaftClient::new(channel.clone()).pre_vote(vote(9)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let refused = ClusterClient::new(channel).status(StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(cluster.node(1).metrics().current_term, 1, "a stranger's vote counted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_speaks_only_in_its_own_name() {
    let cluster = Cluster::start(2).await;
    let (_dialer, channel) = dial(cluster.identity(2), cluster.member(1), 1, Purpose::Replication);
    let refused = RaftClient::new(channel.clone()).vote(vote(1)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let append = AppendRequest {
        vote: Some(log::Vote { term: 1_000, node_id: 1, committed: true }),
        ..AppendRequest::default()
    };
    let mut answers =
        RaftClient::new(channel).append(futures::stream::iter([append])).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_stream_is_cut_off_when_its_node_is_removed() {
    let cluster = Cluster::start(3).await;
    let removed = cluster.leader().await.node_id();
    let follower = cluster.follower().await.node_id();
    let (_dialer, channel) =
        dial(cluster.identity(removed), cluster.member(follower), follower, Purpose::Replication);
    // The leader's own vote, so that the follower answers and the stream stays open.
    let append = AppendRequest {
        vote: Some(vote_to_proto(&cluster.node(removed).metrics().vote)),
        ..AppendRequest::default()
    };
    let (sender, requests) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(requests);
    let mut answers = RaftClient::new(channel).append(requests).await.unwrap().into_inner();
    sender.send(append.clone()).await.unwrap();
    let answer = answers.message().await.unwrap().unwrap();
    assert!(matches!(answer.result, Some(append_response::Result::Matching(_))), "a member was not served");

    assert_eq!(cluster.node(removed).membership.remove(removed).await, Err(MembershipError::NotLeader));
    cluster.change(|membership| async move { membership.remove(removed).await }).await;
    cluster.node(follower).read("key").await;

    sender.send(append).await.unwrap();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_read_indexes_is_cut_off_when_its_node_is_removed() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.leader().await.node_id();
    let removed = cluster.follower().await.node_id();
    let (_dialer, channel) =
        dial(cluster.identity(removed), cluster.member(leader), leader, Purpose::ReadIndex);
    let (sender, questions) = tokio::sync::mpsc::channel(1);
    let questions = tokio_stream::wrappers::ReceiverStream::new(questions);
    let mut answers = ClusterClient::new(channel).read_index(questions).await.unwrap().into_inner();
    let mut index = 0;
    for _ in 0..2 {
        sender.send(ReadIndexRequest {}).await.unwrap();
        let answer = answers.message().await.unwrap().expect("a member was not served");
        assert!(answer.index >= index);
        index = answer.index;
    }
    cluster.change(|membership| async move { membership.remove(removed).await }).await;

    sender.send(ReadIndexRequest {}).await.unwrap();
    assert_eq!(answers.message().await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_another_cluster_is_refused_in_the_handshake() {
    let cluster = Cluster::start(1).await;
    let other = ClusterCa::generate(ClusterId::random(), SystemTime::now()).unwrap();
    let key = NodeKey::generate().unwrap();
    let pem = other.issue(&key.csr_pem().unwrap(), 1, &[], SystemTime::now()).unwrap();
    let peer = PeerIdentity { cluster_id: other.cluster_id(), node_id: 1 };
    // It trusts this cluster's authority, so that only the server can refuse it.
    let identity = Identity::member("x", peer, key, pem, cluster.ca.certificate_pem()).unwrap();
    let (_dialer, channel) = dial(identity, cluster.member(1), 1, Purpose::Calls);
    let refused = ClusterClient::new(channel).status(StatusRequest {}).await.unwrap_err();
    assert_ne!(refused.code(), Code::Ok);
    assert!(std::error::Error::source(&refused).is_some(), "the refusal came after the handshake: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_refused() {
    let cluster = Cluster::start(2).await;
    let key = NodeKey::generate().unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(40 * 24 * 60 * 60);
    let pem = cluster.ca.issue(&key.csr_pem().unwrap(), 2, &[], long_ago).unwrap();
    let peer = PeerIdentity { cluster_id: cluster.ca.cluster_id(), node_id: 2 };
    let expired = Identity::member("n2", peer, key, pem, cluster.ca.certificate_pem()).unwrap();
    let (_dialer, channel) = dial(expired, cluster.member(1), 1, Purpose::Calls);
    let refused = ClusterClient::new(channel).status(StatusRequest {}).await.unwrap_err();
    assert!(std::error::Error::source(&refused).is_some(), "an expired certificate was let in: {refused}");
    // The same caller with a certificate that is valid is let in.
    let (_dialer, channel) = dial(cluster.identity(2), cluster.member(1), 1, Purpose::Calls);
    ClusterClient::new(channel).status(StatusRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_refuses_a_node_that_is_not_the_one_it_means() {
    let cluster = Cluster::start(2).await;
    // Node 2's address now leads to node 1.
    let (_dialer, channel) = dial(cluster.identity(2), cluster.member(1), 2, Purpose::Calls);
    let refused = ClusterClient::new(channel).status(StatusRequest {}).await.unwrap_err();
    let text = crate::raft::network::describe(&refused);
    assert!(text.contains("WrongHolder"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_found_nobody_was_not_sent() {
    let cluster = Cluster::start(1).await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let roster = Roster::new();
    roster.hint(7, &Node { cluster_addr: free.to_string(), ..Node::default() });
    let tls = LiveTls::new(cluster.identity(9)).unwrap();
    let dialer = Dialer::new(tls, roster, Handle::current(), Handle::current());
    let dir = tempfile::tempdir().unwrap();
    let peers = Peers::new(dialer, Arc::new(Fence::open(dir.path(), 9).unwrap()));
    for node_id in [7, 8] {
        let failed = peers.forward(node_id, ForwardRequest::default(), Instant::now() + PATIENCE).await;
        assert!(matches!(failed, Err(PeerError::NotSent(_))), "{failed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_answer_never_came_is_unknown() {
    let mut cluster = Cluster::start(2).await;
    let peers = cluster.node(1).peers.clone();
    let body = bytes::Bytes::from_static(b"body");
    let request = ForwardRequest { body: body.clone(), ..ForwardRequest::default() };
    let answer = peers.forward(2, request, Instant::now() + PATIENCE).await.unwrap();
    assert_eq!(answer.body, body);

    let endless = ForwardRequest { method: ENDLESS.into(), ..ForwardRequest::default() };
    let late = peers.forward(2, endless.clone(), Instant::now() + Duration::from_millis(200)).await;
    assert!(matches!(late, Err(PeerError::Unknown(_))), "{late:?}");

    let asked = tokio::spawn(async move { peers.forward(2, endless, Instant::now() + PATIENCE).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    cluster.kill(2).await;
    let lost = asked.await.unwrap();
    assert!(matches!(lost, Err(PeerError::Unknown(_))), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_that_hold_handshakes_open_keep_no_member_out() {
    let cluster = Cluster::start(2).await;
    let server = cluster.member(1);
    let silent = async || tokio::net::TcpStream::connect(server.address).await.unwrap();
    // As many as the port serves at all, opened without a pause while a member calls.
    let mut strangers = Vec::new();
    for round in 0..10 {
        for _ in 0..100 {
            strangers.push(silent().await);
        }
        let (_dialer, channel) = dial(cluster.identity(2), server, 1, Purpose::Calls);
        let answer = ClusterClient::new(channel).status(StatusRequest {}).await;
        assert!(answer.is_ok(), "round {round}: {answer:?}");
    }
    // The first had to go long before their time was up.
    let mut byte = [0];
    let oldest = tokio::io::AsyncReadExt::read(&mut strangers[0], &mut byte);
    let ended = tokio::time::timeout(PATIENCE, oldest).await.expect("the connection is closed");
    assert!(!matches!(ended, Ok(1..)));
}
