//! The objects of the calls, field by field.

use std::collections::BTreeMap;

use crate::base64::Base64;
use crate::json::{object, plain};
use crate::time::Time;

plain!(
    String,
    bool,
    i64,
    Option<bool>,
    Option<Time>,
    Base64,
    Message,
    Structure,
    MessageMeta
);

object! {
    /// A name and an address.
    NameAddress {
        /// Of a person; empty: none.
        name: String = "Name",
        /// The address.
        address: String = "Address",
    }
}

object! {
    /// A file, in the message or beside its text.
    File {
        /// Its name; empty: none.
        name: String = "Name",
        /// Empty: it is guessed from the content.
        content_type: String = "ContentType",
        /// By which other parts name it (`cid:`); empty: they don't.
        content_id: String = "ContentID",
        /// The content, in base64.
        data: Base64 = "Data",
    }
}

object! {
    /// What to send, to whom, and how.
    SendRequest {
        /// At most one; none: the account and the address of the login.
        from: Vec<NameAddress> = "From",
        /// Recipients.
        to: Vec<NameAddress> = "To",
        /// Recipients of copies.
        cc: Vec<NameAddress> = "CC",
        /// Recipients whom the message does not name.
        bcc: Vec<NameAddress> = "BCC",
        /// Where answers go.
        reply_to: Vec<NameAddress> = "ReplyTo",
        /// With its angle brackets; empty: it gets one.
        message_id: String = "MessageID",
        /// Messages it answers, the oldest first.
        references: Vec<String> = "References",
        /// None: now.
        date: Option<Time> = "Date",
        /// Its subject.
        subject: String = "Subject",
        /// As plain text. This or HTML must be there.
        text: String = "Text",
        /// As HTML.
        html: String = "HTML",
        /// What is kept with the message, and told with its events.
        extra: BTreeMap<String, String> = "Extra",
        /// More header fields, in this order.
        headers: Vec<(String, String)> = "Headers",
        /// Other forms of the text.
        alternative_files: Vec<File> = "AlternativeFiles",
        /// What the HTML shows.
        inline_files: Vec<File> = "InlineFiles",
        /// What goes with it.
        attached_files: Vec<File> = "AttachedFiles",
        /// True: only by hosts that keep to REQUIRETLS (RFC 8689); false: whatever the receiver demands of TLS.
        require_tls: Option<bool> = "RequireTLS",
        /// Not before.
        future_release: Option<Time> = "FutureRelease",
        /// Whether a copy goes to the mailbox for sent mail.
        save_sent: bool = "SaveSent",
    }
}

object! {
    /// What became of a `Send`.
    SendResult {
        /// With its angle brackets.
        message_id: String = "MessageID",
        /// In the order To, CC, BCC; an address that is named twice has one number.
        submissions: Vec<Submission> = "Submissions",
    }
}

object! {
    /// A recipient that the message is on its way to.
    Submission {
        /// As the request has it.
        address: String = "Address",
        /// Its number in the queue.
        queue_msg_id: i64 = "QueueMsgID",
        /// What makes its MAIL FROM unique; empty: it is not.
        from_id: String = "FromID",
    }
}

object! {
    /// No parameters, or nothing to say.
    Empty {}
}

object! {
    /// An address that gets nothing.
    Suppression {
        /// Its number.
        id: i64 = "ID",
        /// Since when.
        created: Option<Time> = "Created",
        /// Whose list it is on.
        account: String = "Account",
        /// What stands for all addresses that lead to the same person.
        base_address: String = "BaseAddress",
        /// As it was added.
        original_address: String = "OriginalAddress",
        /// Whether a person did.
        manual: bool = "Manual",
        /// Why.
        reason: String = "Reason",
    }
}

object! {
    /// An account's list.
    Suppressions {
        /// All of it.
        suppressions: Vec<Suppression> = "Suppressions",
    }
}

object! {
    /// An address for the list.
    SuppressionAdd {
        /// The address.
        email_address: String = "EmailAddress",
        /// Whether a person adds it.
        manual: bool = "Manual",
        /// Why.
        reason: String = "Reason",
    }
}

object! {
    /// An address that is asked for, or taken out.
    SuppressionAddress {
        /// The address.
        email_address: String = "EmailAddress",
    }
}

object! {
    /// Whether it is on the list.
    Present {
        /// It is.
        present: bool = "Present",
    }
}

object! {
    /// A message of the account.
    MsgId {
        /// Its number.
        msg_id: i64 = "MsgID",
    }
}

object! {
    /// A part of a message.
    MsgPart {
        /// Its number.
        msg_id: i64 = "MsgID",
        /// From the outermost part inwards, beginning with 0; empty: the outermost.
        part_path: Vec<i64> = "PartPath",
    }
}

object! {
    /// Flags of a message.
    MsgFlags {
        /// Its number.
        msg_id: i64 = "MsgID",
        /// Which.
        flags: Vec<String> = "Flags",
    }
}

object! {
    /// Another mailbox for a message.
    MsgMove {
        /// Its number.
        msg_id: i64 = "MsgID",
        /// There must be one of that name.
        dest_mailbox_name: String = "DestMailboxName",
    }
}

object! {
    /// A message as it is read.
    Message {
        /// Its authors.
        from: Vec<NameAddress> = "From",
        /// Its recipients.
        to: Vec<NameAddress> = "To",
        /// Those of copies.
        cc: Vec<NameAddress> = "CC",
        /// Those whom only our copy names.
        bcc: Vec<NameAddress> = "BCC",
        /// Where answers go.
        reply_to: Vec<NameAddress> = "ReplyTo",
        /// With its angle brackets.
        message_id: String = "MessageID",
        /// What it answers, the oldest first.
        references: Vec<String> = "References",
        /// Its Date field.
        date: Option<Time> = "Date",
        /// Decoded.
        subject: String = "Subject",
        /// The first plain text, with LF.
        text: String = "Text",
        /// The first HTML.
        html: String = "HTML",
    }
}

object! {
    /// A part and those in it.
    Structure {
        /// In lower case.
        content_type: String = "ContentType",
        /// Names in lower case.
        content_type_params: BTreeMap<String, String> = "ContentTypeParams",
        /// With its angle brackets.
        content_id: String = "ContentID",
        /// `inline`, `attachment`; empty.
        content_disposition: String = "ContentDisposition",
        /// Decoded.
        filename: String = "Filename",
        /// Octets of what it carries; 0 if it has parts.
        decoded_size: i64 = "DecodedSize",
        /// In it.
        parts: Vec<Structure> = "Parts",
    }
}

object! {
    /// What is known of a message besides.
    MessageMeta {
        /// Its octets.
        size: i64 = "Size",
        /// Whether it is a delivery status notification.
        dsn: bool = "DSN",
        /// In order.
        flags: Vec<String> = "Flags",
        /// Of its transaction.
        mail_from: String = "MailFrom",
        /// By SPF.
        mail_from_validated: bool = "MailFromValidated",
        /// Of its transaction.
        rcpt_to: String = "RcptTo",
        /// Its author.
        msg_from: String = "MsgFrom",
        /// By DMARC.
        msg_from_validated: bool = "MsgFromValidated",
        /// Domains whose signatures hold.
        dkim_verified_domains: Vec<String> = "DKIMVerifiedDomains",
        /// Where it came from.
        remote_ip: String = "RemoteIP",
        /// Where it is.
        mailbox_name: String = "MailboxName",
    }
}

object! {
    /// A message, taken apart.
    MsgGetResult {
        /// What it says.
        message: Message = "Message",
        /// Its parts.
        structure: Structure = "Structure",
        /// What is known of it.
        meta: MessageMeta = "Meta",
    }
}
