//! The fields of jobs.

use super::macros::fields;

fields! {
    /// A field of a job.
    JobField of Job;
    plain {
        Id: "id", "ID", Number, [], "Job number";
        Status: "status", "Status", Text, [], "Status";
        Priority: "priority", "Priority", Number, [], "Priority: the most urgent of its unfinished opcodes, -20 before 19";
        Archived: "archived", "Archived", Boolean, [], "Whether it is archived";
        Ops: "ops", "OpCodes", Other, [], "Opcodes";
        OpResult: "opresult", "OpCode_result", Other, [], "Result of each opcode";
        OpStatus: "opstatus", "OpCode_status", Other, [], "Status of each opcode";
        OpLog: "oplog", "OpCode_log", Other, [], "Log of each opcode";
        OpStart: "opstart", "OpCode_start", Other, [], "When each opcode began, waiting for locks included";
        OpExec: "opexec", "OpCode_exec", Other, [], "When each opcode began its work";
        OpEnd: "opend", "OpCode_end", Other, [], "When each opcode ended";
        OpPriority: "oppriority", "OpCode_prio", Other, [], "Priority of each opcode";
        Summary: "summary", "Summary", Other, [], "Each opcode in short";
        ReceivedTs: "received_ts", "Received", Other, [JobTime], "When it was submitted";
        StartTs: "start_ts", "Start", Other, [JobTime], "When its first opcode began";
        EndTs: "end_ts", "End", Other, [JobTime], "When its last opcode ended";
    }
}
