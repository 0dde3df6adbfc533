use super::*;
use fallthrough_diffusion::painter::Painter;
use fallthrough_diffusion::{Format, ModelCard};
use fallthrough_origin::{Key, serve};
use std::sync::Mutex;

const HASH: &str = "27205e5c51cb03f862138b22bcb5dc20";

/// A model that remembers what it was asked and fails as told.
#[derive(Default)]
struct Fake {
    asked: Mutex<Vec<Txt2Img>>,
    fail: Mutex<Option<ModelError>>,
    hang: bool,
    cancelled: CancellationToken,
}

#[async_trait]
impl ImageModel for Fake {
    async fn generate(&self, request: &Txt2Img, job: &Job) -> Result<Picture, ModelError> {
        self.asked.lock().unwrap().push(request.clone());
        if self.hang {
            let job = job.clone();
            let cancelled = self.cancelled.clone();
            let watch = tokio_util::task::TaskTracker::new();
            watch.spawn(async move {
                job.cancelled().await;
                cancelled.cancel();
            });
            std::future::pending::<()>().await;
        }
        match self.fail.lock().unwrap().take() {
            Some(error) => Err(error),
            None => {
                // Always JPEG, whatever the job wishes for.
                let bytes = encode::encode(&[90; 64 * 64 * 4], 64, 64, Format::Jpeg).unwrap();
                let fingerprint = fallthrough_diffusion::Fingerprint {
                    engine: "fake".to_owned(),
                    version: "1\r\nx-evil: yes\u{e9}".to_owned(),
                    model_hash: "abc".to_owned(),
                };
                Ok(Picture { bytes, format: Format::Jpeg, fingerprint })
            }
        }
    }

    fn card(&self) -> ModelCard {
        Painter::new().card()
    }
}

fn origin(model: Arc<dyn ImageModel>) -> AvatarOrigin {
    AvatarOrigin::new(model, AvatarSettings::default())
}

fn request(key: &str) -> Request {
    Request::new("avatar", Key::parse(key).unwrap())
}

/// A client for loopback. Its provider is chosen here since nothing else may have done so yet.
fn http() -> reqwest::Client {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        let _lost_the_race = rustls::crypto::ring::default_provider().install_default();
    }
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn a_model_failure_is_never_absence() {
    let failures = [
        ModelError::Busy { retry_after: Duration::from_secs(7) },
        ModelError::Invalid("no".into()),
        ModelError::Unavailable("down".into()),
        ModelError::Misconfigured("401".into()),
        ModelError::OutOfMemory,
        ModelError::Cancelled,
        ModelError::Internal("bug".into()),
    ];
    for failure in failures {
        let name = format!("{failure:?}");
        let fake = Arc::new(Fake { fail: Mutex::new(Some(failure)), ..Fake::default() });
        match origin(fake).get(&request(HASH)).await.unwrap_err() {
            OriginError::Busy { retry_after } => assert!(retry_after >= Duration::from_secs(1), "{name}"),
            OriginError::Internal(_) => assert!(!name.starts_with("Busy")),
            other => panic!("{name} became {other:?}"),
        }
    }
}

#[tokio::test]
async fn on_the_wire_a_failure_is_5xx_and_busy_says_when() {
    let fake = Arc::new(Fake::default());
    let server = serve(origin(fake.clone())).bind("127.0.0.1:0").await.unwrap();
    let url = format!("{}/avatar/{HASH}", server.url());
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let tracker = tokio_util::task::TaskTracker::new();
    let run = tracker.spawn(async move { server.run_until(stopped.cancelled_owned()).await });

    *fake.fail.lock().unwrap() = Some(ModelError::Busy { retry_after: Duration::from_secs(42) });
    let busy = http().get(&url).send().await.unwrap();
    assert_eq!(busy.status(), 503);
    assert_eq!(busy.headers()["retry-after"], "42");

    *fake.fail.lock().unwrap() = Some(ModelError::Internal("bug".into()));
    assert_eq!(http().get(&url).send().await.unwrap().status(), 500);

    let fine = http().get(&url).send().await.unwrap();
    assert_eq!(fine.status(), 200);
    assert_eq!(fine.headers()["cache-control"], "public, max-age=86400");
    assert_eq!(fine.headers()["content-type"], "image/jpeg");
    assert_eq!(fine.headers()["x-amz-meta-edition"], "v1");
    assert_eq!(fine.headers()["x-amz-meta-model"], "fake/1??x-evil: yes? abc");
    assert_eq!(fine.headers()["x-amz-meta-request-sha256"].len(), 64);
    assert!(!fine.headers().contains_key("x-evil"));

    let head = http().head(&url).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"], fine.headers()["content-length"]);

    let calls = fake.asked.lock().unwrap().len();
    for key in [
        "27205e5c",
        "x27205e5c51cb03f862138b22bcb5dc20",
        "27205e5c51cb03f862138b22bcb5dc20.gif",
        "favicon.ico",
    ] {
        let answer = http().get(url.replace(HASH, key)).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{key}");
        assert!(answer.text().await.unwrap().contains("hex digits"));
    }
    assert_eq!(fake.asked.lock().unwrap().len(), calls, "no invalid key reached the model");
    stop.cancel();
    run.await.unwrap();
}

#[tokio::test]
async fn the_suffix_chooses_the_encoding_and_not_the_picture() {
    let fake = Arc::new(Fake::default());
    let origin = origin(fake.clone());
    for (suffix, content_type) in [
        ("", "image/jpeg"),
        (".jpg", "image/jpeg"),
        (".jpeg", "image/jpeg"),
        (".png", "image/png"),
        (".webp", "image/webp"),
    ] {
        let answer = origin.get(&request(&format!("{HASH}{suffix}"))).await.unwrap();
        assert!(format!("{answer:?}").contains(content_type), "{answer:?}");
    }
    let asked = fake.asked.lock().unwrap();
    assert_eq!(asked.len(), 5);
    assert!(asked.iter().all(|request| *request == asked[0]));
}

/// The bytes of a key, and the headers that matter.
async fn fetched(origin: AvatarOrigin, key: &str) -> (Vec<u8>, http::HeaderMap) {
    let request = http::Request::get(format!("/avatar/{key}")).body(http_body_util::Empty::<Bytes>::new());
    let answer = serve(origin).into_service().answer(request.unwrap()).await;
    assert_eq!(answer.status(), 200, "{key}");
    let (parts, body) = answer.into_parts();
    (http_body_util::BodyExt::collect(body).await.unwrap().to_bytes().to_vec(), parts.headers)
}

#[tokio::test]
async fn variants_have_their_size_and_one_call_of_the_model_each() {
    for (any_size, asked_px) in [(false, 256), (true, 128)] {
        let fake = Arc::new(Fake::default());
        let settings = AvatarSettings { any_size, ..AvatarSettings::default() };
        let (bytes, headers) =
            fetched(AvatarOrigin::new(fake.clone(), settings), &format!("{HASH}/128.webp")).await;
        // The fake always draws 64 pixels, so that one that is not asked for the size is seen to be resized.
        let side = if any_size { 64 } else { 128 };
        assert_eq!(encode::dimensions(&bytes).unwrap(), (side, side));
        assert_eq!(headers["content-type"], "image/webp");
        let asked = fake.asked.lock().unwrap();
        assert_eq!(asked.len(), 1);
        assert_eq!(asked[0].width, asked_px);
    }
    // Too small for a model: made of the usual size.
    let origin = AvatarOrigin::new(
        Arc::new(Painter::new()),
        AvatarSettings { any_size: true, ..AvatarSettings::default() },
    );
    let (bytes, _) = fetched(origin, &format!("{HASH}/32.jpg")).await;
    assert_eq!(encode::dimensions(&bytes).unwrap(), (32, 32));
}

#[tokio::test]
async fn what_stands_in_an_avatars_place_asks_no_model() {
    let mut seen = std::collections::BTreeSet::new();
    for key in [
        &format!("{HASH}/80.identicon.png"),
        &format!("{HASH}/80.retro.png"),
        &format!("{HASH}/80.monsterid.png"),
        "any/80.mp.png",
        "any/80.blank.png",
    ] {
        let fake = Arc::new(Fake::default());
        let (bytes, headers) = fetched(origin(fake.clone()), key).await;
        assert_eq!(encode::dimensions(&bytes).unwrap(), (80, 80), "{key}");
        assert_eq!(headers["cache-control"], "public, max-age=86400");
        assert_eq!(headers["x-amz-meta-edition"], "v1");
        assert!(headers.contains_key("etag") && headers.contains_key("x-amz-meta-model"));
        assert!(fake.asked.lock().unwrap().is_empty(), "{key}");
        assert!(seen.insert(bytes), "{key} looks like another");
    }
}

#[tokio::test]
async fn an_unsigned_request_is_refused_before_the_model_is_asked() {
    let fake = Arc::new(Fake::default());
    let service = serve(origin(fake.clone())).credentials("AKAVATAR", "a-secret").into_service();
    for query in ["", "?X-Amz-Signature=0000&X-Amz-Algorithm=AWS4-HMAC-SHA256"] {
        let request = http::Request::get(format!("/avatar/{HASH}{query}"));
        let answer = service.answer(request.body(http_body_util::Empty::<Bytes>::new()).unwrap()).await;
        assert!(matches!(answer.status().as_u16(), 400 | 403), "{query}: {}", answer.status());
    }
    assert!(fake.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_list_is_answered() {
    let service = serve(origin(Arc::new(Fake::default()))).into_service();
    let request = http::Request::get("/avatar?list-type=2").body(http_body_util::Empty::<Bytes>::new());
    let answer = service.answer(request.unwrap()).await;
    assert_eq!(answer.status(), 200);
    let body = http_body_util::BodyExt::collect(answer.into_body()).await.unwrap().to_bytes();
    assert!(String::from_utf8(body.to_vec()).unwrap().contains("<KeyCount>0</KeyCount>"));
}

#[tokio::test]
async fn high_seeds_are_used_as_they_are() {
    high_seeds();
    assert!(crate::mutants::caught(Mutant::HighSeedsForgotten, high_seeds));
}

fn high_seeds() {
    let origin = origin(Arc::new(Fake::default()));
    for (digits, seed) in [("7fffffff", 0x7fff_ffff), ("80000000", 0x8000_0000), ("ffffffff", u32::MAX)] {
        let traits = Traits::from_hash(&format!("{}{digits}0", "a".repeat(23))).unwrap();
        assert_eq!(origin.request(&traits, None).seed, seed);
    }
}

#[tokio::test]
async fn high_seeds_and_either_case_ask_for_the_same() {
    let fake = Arc::new(Fake::default());
    let origin = origin(fake.clone());
    let key = "27205e5c51cb03f862138b2fffffffe0";
    origin.get(&request(key)).await.unwrap();
    origin.get(&request(&key.to_uppercase())).await.unwrap();
    let asked = fake.asked.lock().unwrap();
    assert_eq!(asked[0].seed, 0xffff_fffe);
    assert_eq!(asked[0], asked[1]);
    assert_eq!((asked[0].width, asked[0].steps, asked[0].guidance_milli), (256, 20, 7000));
    assert_eq!((asked[0].sampler.as_str(), asked[0].scheduler.as_str()), ("DPM++ 2M", "Karras"));
}

#[tokio::test]
async fn a_caller_who_leaves_cancels_the_job() {
    let fake = Arc::new(Fake { hang: true, ..Fake::default() });
    let origin = origin(fake.clone());
    let request = request(HASH);
    let mut get = origin.get(&request);
    let polled = std::future::poll_fn(|context| std::task::Poll::Ready(get.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    drop(get);
    fake.cancelled.cancelled().await;
}

#[tokio::test]
async fn avatars_are_drawn_the_same_each_time() {
    let origin = origin(Arc::new(Painter::new()));
    let body = async |key: &str| format!("{:?}", origin.get(&request(key)).await.unwrap());
    let first = body(HASH).await;
    assert_eq!(first, body(HASH).await);
    assert_eq!(first, body(&HASH.to_uppercase()).await);
    assert_ne!(first, body("27205e5c51cb03f862138b22bcb5dc30").await);
}
