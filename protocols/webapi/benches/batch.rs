//! What a batch costs, in CPU time: `cargo bench -p ringmail-webapi`. First reading and checking it, for each recipient; then making the message of one.

use std::hint::black_box;

use ringmail_webapi::batch::BatchRequest;
use ringmail_webapi::compose::compose;
use ringmail_webapi::template::{Data, Effort, Parts, Rendered, Template};
use ringmail_webapi::v1::batch::NewBatch;
use ringmail_webapi::v1::read;
use ringmail_webapi::{Maker, NameAddress, SendRequest, Time};
use rustix::time::{ClockId, clock_gettime};

fn main() {
    let json = json();
    let each = |nanos: f64| nanos / 1e3 / RECIPIENTS as f64;
    let request = || -> BatchRequest {
        let batch: Result<NewBatch, _> = read::body(black_box(json.as_bytes()));
        batch.map(NewBatch::into_request).unwrap()
    };
    let octets = json.len() / RECIPIENTS;
    println!(
        "{:9.2} us a recipient, {octets} octets of JSON: read",
        each(nanos(3, request))
    );
    let request = request();
    let check = || request.check("me@example.org").map_err(|p| p.len()).ok();
    println!("{:9.2} us a recipient: checked", each(nanos(3, check)));
    let checked = check().unwrap();
    let read = |at: usize| {
        let recipient = &request.recipients[at];
        let of = (recipient.address.as_str(), recipient.name.as_str());
        Data::read(&checked.defaults, &recipient.data, of).unwrap()
    };
    let render = |template: &Template| template.render(&read(7), Effort::Quick).unwrap();
    let rendered = nanos(500, || render(&checked.template));
    println!("{:9.2} us a message: rendered", rendered / 1e3);
    let made = nanos(500, || make(render(&checked.template)));
    println!("{:9.2} us a message: rendered and composed", made / 1e3);
    let all_parts = Parts {
        html: request.template.text.clone(),
        to_name: "{{ first }} {{ last }}".into(),
        headers: vec![("X-Number".into(), "{{ number }}".into()); 2],
        ..request.template.clone()
    };
    let all_parts = Template::check(&all_parts).unwrap();
    let rendered = nanos(500, || render(&all_parts));
    println!(
        "{:9.2} us a message with six parts: rendered",
        rendered / 1e3
    );
    for (text, what) in HOSTILE {
        let hostile = Parts {
            text: text.into(),
            headers: vec![("X-A".into(), text.into()); 20],
            ..Parts::default()
        };
        let hostile = Template::check(&hostile).unwrap();
        for effort in [Effort::Quick, Effort::Full] {
            let spent = nanos(3, || hostile.render(&read(7), effort).is_err());
            println!("{:9.2} us until {effort:?} ends: {what}", spent / 1e3);
        }
    }
    println!(
        "{:9} octets a message",
        make(render(&checked.template)).len()
    );
}

fn make(rendered: Rendered) -> Vec<u8> {
    let request = SendRequest {
        to: vec![NameAddress {
            name: rendered.to_name,
            address: "ann@example.net".into(),
        }],
        subject: rendered.subject,
        text: rendered.text,
        html: rendered.html,
        headers: rendered.headers,
        ..SendRequest::default()
    };
    let maker = Maker {
        author: ("", "me@example.org"),
        message_id: "1@example.org",
        now: Time::of_unix(0).unwrap(),
        product: "bench",
        boundary: Some("bench"),
    };
    compose(&request, &[], &maker).unwrap().octets
}

fn json() -> String {
    let text = "All work and no play makes a dull message. 0123456789 abcdefgh\\n".repeat(32);
    let recipient = |at: usize| {
        format!(
            r#"{{"address":"recipient{at}@example.net","data":{{"number":{at},"first":"First {at}","last":"Last","link":"https://shop.example/o/{at}"}}}}"#
        )
    };
    let recipients: Vec<String> = (0..RECIPIENTS).map(recipient).collect();
    format!(
        r#"{{"template":{{"subject":"Order {{{{ number }}}}","text":"Dear {{{{ first }}}} {{{{ last }}}},\n{text}{{{{ link }}}}\n"}},"recipients":[{}]}}"#,
        recipients.join(",")
    )
}

/// The fastest of five series, for each round.
fn nanos<T>(rounds: u32, mut job: impl FnMut() -> T) -> f64 {
    let cpu = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let series = (0..5).map(|_| {
        let began = cpu();
        for _ in 0..rounds {
            black_box(job());
        }
        (cpu() - began) / f64::from(rounds)
    });
    series.fold(f64::INFINITY, f64::min)
}

/// What takes as much as it may.
const HOSTILE: [(&str, &str); 4] = [
    ("{% for i in range(99999) %}{% endfor %}", "a loop"),
    (
        "{% for i in range(99999) %}{{ number }}{% endfor %}",
        "numbers",
    ),
    (
        "{% for i in range(5000) %}{{ first|upper|replace('F', 'xyz')|title }}{% endfor %}",
        "filters",
    ),
    (
        "{% set a = 'x' %}{% for i in range(999) %}{% set a = (a ~ 'yy')|upper %}{{ a|replace('x', 'zz') }}{% endfor %}",
        "texts",
    ),
];

const RECIPIENTS: usize = 10_000;
