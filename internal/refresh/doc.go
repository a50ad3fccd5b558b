// Copyright 2026 The Keycard Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package refresh is the whole policy of keeping a token fresh: when to exchange, when to wait, and when to look again. It is pure.
// Everything it knows comes in as Facts, a State and an Event. It has no client, clock, goroutine or log, so the same facts always
// give the same answer.
//
// A controller gathers facts and takes a Step with Looked. It does what the Action says and takes the next step with the event
// that came of it, until the action is Report:
//
//	Looked -> Exchange -> Answered -> Finish -> Completed -> Write -> Written -> Report
//
// Between two looks a binding is in one of five phases. Idle: nothing is to be done until the token is due, or until a watch
// reports. Due: an attempt is under way. Queued: it waits for its turn at the zone. BackingOff: an attempt failed, or the zone had
// nothing newer. Holding: an attempt failed after the zone had issued a token, which the next attempt goes on with.
//
// The table lists for each phase and event the phases that may follow, each with the verb of the action. "-" can't happen. A test
// drives the machine through random lives and compares the table with what it saw.
//
//	Idle       | Looked    | BackingOff Report, Due Exchange, Idle LayOut, Idle Report
//	Idle       | Prevented | Idle Empty, Idle Report
//	Idle       | InLine    | -
//	Idle       | Answered  | -
//	Idle       | Completed | -
//	Idle       | Failed    | -
//	Idle       | Written   | -
//	Idle       | LaidOut   | Idle Report
//	Idle       | Emptied   | Idle Report
//	Idle       | Consented | Idle Look
//	Idle       | Returned  | Idle Ignore, Idle Look
//	Due        | Looked    | BackingOff Report, Due Exchange, Due Finish, Due Write, Holding Report, Idle Report
//	Due        | Prevented | BackingOff Empty, BackingOff Report, Holding Empty, Holding Report, Idle Empty, Idle Report
//	Due        | InLine    | Queued Empty, Queued LayOut, Queued Report
//	Due        | Answered  | BackingOff LayOut, BackingOff Report, Due Finish
//	Due        | Completed | Due Write
//	Due        | Failed    | BackingOff Empty, BackingOff LayOut, BackingOff Report, Holding Empty, Holding LayOut, Holding Report
//	Due        | Written   | Idle Report
//	Due        | LaidOut   | -
//	Due        | Emptied   | -
//	Due        | Consented | Due Look
//	Due        | Returned  | Due Ignore, Due Look
//	Queued     | Looked    | BackingOff LayOut, BackingOff Report, Due Exchange, Idle LayOut, Idle Report
//	Queued     | Prevented | BackingOff Empty, BackingOff Report, Idle Empty, Idle Report
//	Queued     | InLine    | -
//	Queued     | Answered  | -
//	Queued     | Completed | -
//	Queued     | Failed    | -
//	Queued     | Written   | -
//	Queued     | LaidOut   | Queued Report
//	Queued     | Emptied   | Queued Report
//	Queued     | Consented | Queued Look
//	Queued     | Returned  | Queued Ignore, Queued Look
//	BackingOff | Looked    | BackingOff Empty, BackingOff LayOut, BackingOff Report, Due Exchange, Idle LayOut, Idle Report
//	BackingOff | Prevented | BackingOff Empty, BackingOff Report
//	BackingOff | InLine    | -
//	BackingOff | Answered  | -
//	BackingOff | Completed | -
//	BackingOff | Failed    | -
//	BackingOff | Written   | -
//	BackingOff | LaidOut   | BackingOff Report
//	BackingOff | Emptied   | BackingOff Report
//	BackingOff | Consented | BackingOff Look
//	BackingOff | Returned  | BackingOff Ignore, BackingOff Look
//	Holding    | Looked    | BackingOff Empty, BackingOff LayOut, BackingOff Report, Due Exchange, Due Finish, Due Write, Holding Empty, Holding LayOut, Holding Report, Idle LayOut, Idle Report
//	Holding    | Prevented | Holding Empty, Holding Report
//	Holding    | InLine    | -
//	Holding    | Answered  | -
//	Holding    | Completed | -
//	Holding    | Failed    | -
//	Holding    | Written   | -
//	Holding    | LaidOut   | Holding Report
//	Holding    | Emptied   | Holding Report
//	Holding    | Consented | Holding Look
//	Holding    | Returned  | Holding Ignore, Holding Look
//
// The rest of the package is arithmetic on times that the caller passes in.
package refresh
