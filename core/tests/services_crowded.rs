//! Services of which many want more than there is.

mod members;

use casm::{
    ErrorKind,
    service::{Parts, ServeOptions},
};
use members::*;
use std::{convert::Infallible, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_takes_no_parts_makes_room_for_others() {
    let [a, b, c] = cluster().await;
    let four = ServeOptions::default().max_inflight(4);
    for (name, slow) in [("one", &a), ("two", &b)] {
        b.serve_stream_with(name, &four, async |_, parts: Parts| {
            while parts.send(vec![0; 64 << 10]).await.is_ok() {}
            Ok::<_, Infallible>(())
        })
        .unwrap();
        sees(&c, name, 1).await;
        let slow: Vec<_> = (0..4).map(|_| slow.call_stream(name, "", to(&b)).unwrap()).collect();
        until(|| b.service_stats(name).unwrap().in_flight == 4).await;
        let served = async {
            loop {
                let mut parts = c.call_stream(name, "", to(&b)).unwrap();
                match parts.next().await.unwrap() {
                    Ok(_) => return parts,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Busy, "{error}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let mut parts = soon(served).await;
        assert_eq!(soon(parts.next()).await.unwrap().unwrap().len(), 64 << 10);
        // One of the four was ended, and is told.
        let mut ended = 0;
        for mut reader in slow {
            for _ in 0..40 {
                match soon(reader.next()).await.unwrap() {
                    Ok(_) => {}
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
                        ended += 1;
                        break;
                    }
                }
            }
        }
        assert_eq!(ended, 1);
        drop(parts);
        until(|| b.service_stats(name).unwrap().in_flight == 0).await;
    }
    close([a, b, c]).await;
}
