//! A server's admin port through the API server: both played by a listener that speaks Kubernetes' protocol for port-forwards by WebSocket.
//!
//! Channel 0 has the bytes of the port and channel 1 the kubelet's errors; the first frame of each holds the number of the port.

use futures::{SinkExt, StreamExt};
use kube::{Client, Config};
use operator_kubectl::cluster::Cluster;
use operator_kubectl::forward::{Silence, status, transfer};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// What the kubelet does with a connection.
#[derive(Clone, Copy)]
enum Kubelet {
    /// The server gets these bytes to see, and answers with these.
    Answers { wants: &'static str, says: &'static str },
    /// Nothing listens on the port.
    Refuses,
    /// The API server does not let it come to that.
    Forbids,
}

/// A cluster with one pod.
async fn cluster(kubelet: Kubelet) -> Cluster {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        #[expect(clippy::result_large_err, reason = "the type is tungstenite's")]
        let shake = |request: &Request, mut response: Response| {
            assert_eq!(request.uri().path(), "/api/v1/namespaces/prod/pods/zk-1/portforward");
            assert!(request.uri().query().is_some_and(|query| query.ends_with("ports=8080")), "{}", request.uri());
            if matches!(kubelet, Kubelet::Forbids) {
                let mut forbidden = ErrorResponse::new(None);
                *forbidden.status_mut() = http::StatusCode::FORBIDDEN;
                return Err(forbidden);
            }
            response
                .headers_mut()
                .insert("Sec-WebSocket-Protocol", http::HeaderValue::from_static("v4.channel.k8s.io"));
            Ok(response)
        };
        let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, shake).await else { return };
        let port = 8080_u16.to_le_bytes();
        for channel in [0, 1] {
            socket.send(Message::binary(vec![channel, port[0], port[1]])).await.expect("it is sent");
        }
        let frame = |channel: u8, text: &str| Message::binary([&[channel], text.as_bytes()].concat());
        match kubelet {
            Kubelet::Refuses => socket.send(frame(1, "connection refused")).await.expect("it is sent"),
            Kubelet::Answers { wants, says } => {
                let mut asked = String::new();
                while !asked.contains("\r\n\r\n") {
                    let message = socket.next().await.expect("a frame").expect("a frame");
                    asked.push_str(&String::from_utf8_lossy(&message.into_data()[1..]));
                }
                let says = if asked.contains(wants) { says } else { "HTTP/1.1 500 Unwanted\r\n\r\n" };
                socket.send(frame(0, says)).await.expect("it is sent");
            }
            Kubelet::Forbids => unreachable!("there is no connection"),
        }
        while socket.next().await.is_some_and(|frame| frame.is_ok()) {}
    });
    let config = Config::new(format!("http://{address}").parse().expect("an address"));
    Cluster { client: Client::try_from(config).expect("a client"), namespace: "prod".to_owned() }
}

#[tokio::test]
async fn a_server_says_what_it_is() {
    let says = "HTTP/1.1 200 OK\r\ncontent-length: 148\r\n\r\n{\"version\":\"0.1.0\",\"myid\":2,\"role\":\"following\",\"leader\":1,\"epoch\":4,\
                \"zxid\":\"0x400000a12\",\"connections\":7,\"storeState\":\"synced\",\"bootstrap\":\"closed\"}";
    let cluster = cluster(Kubelet::Answers { wants: "GET /status HTTP/1.1\r\n", says }).await;
    let answer = status(&cluster, "zk-1").await.expect("an answer");
    assert_eq!((answer.member.myid, answer.connections, answer.zxid()), (2, 7, Some((4, 0xa12))));
}

#[tokio::test]
async fn the_token_goes_with_the_request() {
    let says = "HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{\"transferredTo\":3}";
    let one = cluster(Kubelet::Answers { wants: "authorization: Bearer secret\r\n", says }).await;
    assert_eq!(transfer(&one, "zk-1", "secret", Some(3)).await, Ok(Ok(3)));
    let wants = "POST /leader/transfer?to=3 HTTP/1.1\r\n";
    let refusal = "HTTP/1.1 409 Conflict\r\ncontent-length: 29\r\n\r\n{\"error\":\"it is not leading\"}";
    let one = cluster(Kubelet::Answers { wants, says: refusal }).await;
    let refused = transfer(&one, "zk-1", "secret", Some(3)).await.expect("an answer");
    assert_eq!(refused, Err("it is not leading (409 Conflict)".to_owned()));
}

#[tokio::test]
async fn silence_says_why() {
    let forbidden = status(&cluster(Kubelet::Forbids).await, "zk-1").await.expect_err("it is forbidden");
    assert_eq!(forbidden, Silence::Forbidden);
    let refused = status(&cluster(Kubelet::Refuses).await, "zk-1").await.expect_err("nothing listens");
    assert_eq!(refused, Silence::Failed("connection refused".to_owned()));
}
