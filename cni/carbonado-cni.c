// SPDX-License-Identifier: Apache-2.0
// The CNI plugin of Carbonado: hands its environment and standard input to the agent of the node and prints what
// the agent answers. It decides nothing and starts in about a millisecond; everything else lives in the agent.
//
//   request:  "CARBONADO-CNI/1\n", u32 length + CNI_* variables as KEY=VALUE\0..., u32 length + standard input
//   reply:    one byte exit code, then standard output: one line, or nothing until end of file
// Lengths are little endian. Where the agent cannot be asked, the error of the CNI specification is printed here.

#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/carbonado/cni.sock"
#define GREETING "CARBONADO-CNI/1\n"
#define SUPPORTED_VERSIONS "\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""

enum {
	MAXIMUM_INPUT = 1024 * 1024,
	MAXIMUM_ENVIRONMENT = 128 * 1024,
	MAXIMUM_REPLY = 1024 * 1024,
	DEADLINE_SECONDS = 60,
	// Error codes of the CNI specification.
	INVALID_ENVIRONMENT = 4,
	INPUT_OUTPUT_FAILURE = 5,
	DECODING_FAILURE = 6,
	TRY_AGAIN_LATER = 11,
};

// Static, so that nothing is allocated; pages that stay unused cost nothing.
static char input[MAXIMUM_INPUT + 1];
static size_t input_length;
static char environment[MAXIMUM_ENVIRONMENT];
static size_t environment_length;
static char reply[1 + MAXIMUM_REPLY + 1];
static char cni_version[16] = "1.0.0";

extern char **environ;

static void write_all(int descriptor, const char *data, size_t length)
{
	while (length > 0) {
		ssize_t written = write(descriptor, data, length);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			_exit(1); // nobody listens any more
		data += written;
		length -= (size_t)written;
	}
}

// The version that errors made here are written in: what the configuration says, where that is easily found.
static void find_cni_version(void)
{
	static const char key[] = "\"cniVersion\"";
	const char *at = memmem(input, input_length, key, sizeof(key) - 1);
	if (!at)
		return;
	const char *end = input + input_length;
	at += sizeof(key) - 1;
	while (at < end && strchr(" \t\r\n:", *at) && *at)
		at++;
	if (at >= end || *at++ != '"')
		return;
	size_t length = 0;
	while (at + length < end && length < sizeof(cni_version) && at[length] && strchr("0123456789.", at[length]))
		length++;
	if (length == 0 || length >= sizeof(cni_version) || at + length >= end || at[length] != '"')
		return;
	memcpy(cni_version, at, length);
	cni_version[length] = '\0';
}

static _Noreturn void fail(int code, const char *message, const char *details)
{
	static char text[1024];
	int length = snprintf(text, sizeof(text),
			      "{\"cniVersion\":\"%s\",\"code\":%d,\"msg\":\"%s\",\"details\":\"%s\"}\n", cni_version,
			      code, message, details);
	alarm(0);
	write_all(STDOUT_FILENO, text, length < (int)sizeof(text) ? (size_t)length : sizeof(text) - 1);
	_exit(1);
}

// Async-signal-safe on purpose: no snprintf here.
static void on_deadline(int signal_number)
{
	(void)signal_number;
	static const char before[] = "{\"cniVersion\":\"";
	static const char after[] = "\",\"code\":11,\"msg\":\"the Carbonado agent did not answer within 60 seconds\","
				    "\"details\":\"Look at the agent's log on this node; the runtime will try again.\"}\n";
	write_all(STDOUT_FILENO, before, sizeof(before) - 1);
	write_all(STDOUT_FILENO, cni_version, strlen(cni_version));
	write_all(STDOUT_FILENO, after, sizeof(after) - 1);
	_exit(1);
}

static void read_input(void)
{
	while (input_length < sizeof(input)) {
		ssize_t count = read(STDIN_FILENO, input + input_length, sizeof(input) - input_length);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && errno == EBADF)
			break; // started without a standard input: VERSION may be
		if (count < 0)
			fail(INPUT_OUTPUT_FAILURE, "cannot read the network configuration from standard input", "");
		if (count == 0)
			break;
		input_length += (size_t)count;
	}
	find_cni_version();
	if (input_length > MAXIMUM_INPUT)
		fail(DECODING_FAILURE, "the network configuration is larger than 1 MiB",
		     "Give a smaller network configuration on standard input.");
}

static void collect_environment(void)
{
	for (char **entry = environ; *entry; entry++) {
		if (strncmp(*entry, "CNI_", 4) != 0)
			continue;
		size_t length = strlen(*entry) + 1;
		if (length > sizeof(environment) - environment_length)
			fail(INVALID_ENVIRONMENT, "the CNI_ environment variables are larger than 128 KiB",
			     "Shorten CNI_ARGS or CNI_PATH.");
		memcpy(environment + environment_length, *entry, length);
		environment_length += length;
	}
}

static int is_version_request(void)
{
	const char *command = getenv("CNI_COMMAND");
	return command && strcmp(command, "VERSION") == 0;
}

static _Noreturn void without_agent(const char *message)
{
	if (is_version_request()) {
		static char text[256];
		int length = snprintf(text, sizeof(text), "{\"cniVersion\":\"%s\",\"supportedVersions\":[%s]}\n",
				      cni_version, SUPPORTED_VERSIONS);
		alarm(0);
		write_all(STDOUT_FILENO, text, (size_t)length);
		_exit(0);
	}
	fail(TRY_AGAIN_LATER, message, "Start the Carbonado agent on this node; the runtime will try again.");
}

// Returns -1 when nobody listens there, or the error number as a negative one when asking is not possible at all.
static int connect_to_agent(void)
{
	const char *path = getenv("CARBONADO_CNI_SOCKET");
	if (!path || !*path)
		path = DEFAULT_SOCKET;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	strcpy(address.sun_path, path);
	int agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (agent < 0)
		return -ENFILE;
	while (connect(agent, (struct sockaddr *)&address, sizeof(address)) != 0) {
		if (errno == EISCONN)
			break;
		if (errno != EINTR && errno != EALREADY && errno != EAGAIN)
			return -1;
	}
	return agent;
}

static _Noreturn void not_connected(int why)
{
	if (why == -ENAMETOOLONG)
		fail(INVALID_ENVIRONMENT, "CARBONADO_CNI_SOCKET is too long for a socket path",
		     "Use a path of at most 107 bytes.");
	if (why == -ENFILE)
		fail(INPUT_OUTPUT_FAILURE, "cannot make a socket", "");
	without_agent("the Carbonado agent is not running on this node");
}

static void write_length(unsigned char *at, size_t length)
{
	for (int i = 0; i < 4; i++)
		at[i] = (unsigned char)(length >> 8 * i);
}

static void skip_sent(struct msghdr *message, size_t sent)
{
	while (message->msg_iovlen > 0 && sent >= message->msg_iov->iov_len) {
		sent -= message->msg_iov->iov_len;
		message->msg_iov++;
		message->msg_iovlen--;
	}
	if (message->msg_iovlen == 0)
		return;
	message->msg_iov->iov_base = (char *)message->msg_iov->iov_base + sent;
	message->msg_iov->iov_len -= sent;
}

// All of a request in one piece, so that the agent is woken once. A peer that closed early may still have answered, so
// a failed send is not the end.
static void send_request(int agent)
{
	unsigned char lengths[2][4];
	struct iovec parts[] = {
		{(void *)GREETING, sizeof(GREETING) - 1},
		{lengths[0], sizeof(lengths[0])},
		{environment, environment_length},
		{lengths[1], sizeof(lengths[1])},
		{input, input_length},
	};
	size_t count = sizeof(parts) / sizeof(parts[0]);
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
	write_length(lengths[0], environment_length);
	write_length(lengths[1], input_length);
	while (message.msg_iovlen > 0) {
		ssize_t sent = sendmsg(agent, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			return;
		skip_sent(&message, (size_t)sent);
	}
}

// The line is JSON without line breaks, so the first line break ends it; the agent closes the connection a little later.
static size_t read_reply(int agent)
{
	size_t length = 0;
	while (length < sizeof(reply)) {
		ssize_t count = recv(agent, reply + length, sizeof(reply) - length, 0);
		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			break;
		length += (size_t)count;
		if (length > 1 && reply[length - 1] == '\n')
			break;
	}
	return length;
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, on_deadline);
	alarm(DEADLINE_SECONDS);
	int agent = connect_to_agent(); // the agent gets ready while the runtime writes
	read_input();
	collect_environment();
	if (agent < 0)
		not_connected(agent);
	send_request(agent);

	size_t length = read_reply(agent);
	if (length == 0)
		without_agent("the Carbonado agent closed the connection without an answer");
	if (length > 1 + MAXIMUM_REPLY)
		fail(INPUT_OUTPUT_FAILURE, "the Carbonado agent answered more than 1 MiB", "");
	alarm(0);
	write_all(STDOUT_FILENO, reply + 1, length - 1);
	_exit((unsigned char)reply[0]);
}
