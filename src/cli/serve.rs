//! `ringmail serve`.

use super::Failure;
use super::arguments::Arguments;
use crate::control::{Control, Source, supervise};
use crate::serve::Server;
use crate::settings::check_machine;
use crate::telemetry;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = arguments.config.clone().ok_or_else(|| {
        Failure::Usage("serve needs --config FILE; ringmail config example prints one".into())
    })?;
    let source = Source::File(file.clone());
    let settings = source.load().map_err(|e| e.to_string())?;
    super::client::must_not_run(source.socket_directory(&settings))?;
    check_machine(&settings, &file).map_err(|e| e.to_string())?;
    telemetry::start(&settings.server.log)?;
    let ready = |control: &Control| control.server().serving();
    let result = Server::start(settings).and_then(|server| supervise(server, source, ready));
    telemetry::flush();
    Ok(result?)
}
