# Sends and receives for probe.sh: `listen NAME PORT SECONDS`, `send FROM-PORT ADDRESS PORT DEVICE`, `accept NAME PORT SECONDS`,
# `connect ADDRESS PORT SECONDS`. Ends with 0 if that came about. Whoever waits says so by the file `ready-NAME`.
use strict;
use Socket;

my ($verb, @words) = @ARGV;
$SIG{ALRM} = sub { exit 1 };

sub ready { open(my $file, '>', "ready-$_[0]") or exit 2; close $file }

sub bound {
    my ($kind, $port) = @_;
    socket(my $socket, PF_INET, $kind, 0) or exit 2;
    setsockopt($socket, SOL_SOCKET, SO_REUSEADDR, 1);
    setsockopt($socket, SOL_SOCKET, SO_BROADCAST, 1);
    bind($socket, sockaddr_in($port, INADDR_ANY)) or exit 2;
    return $socket;
}

if ($verb eq 'listen') {
    my ($name, $port, $seconds) = @words;
    my $socket = bound(SOCK_DGRAM, $port);
    ready($name);
    alarm $seconds;
    recv($socket, my $text, 100, 0);
    exit($text eq 'drover' ? 0 : 1);
} elsif ($verb eq 'send') {
    my ($from, $address, $port, $device) = @words;
    my $socket = bound(SOCK_DGRAM, $from);
    setsockopt($socket, SOL_SOCKET, 25, pack('Z*', $device));    # SO_BINDTODEVICE
    for (1 .. 3) {
        send($socket, 'drover', 0, sockaddr_in($port, inet_aton($address)));
        select(undef, undef, undef, 0.1);
    }
} elsif ($verb eq 'accept') {
    my ($name, $port, $seconds) = @words;
    my $socket = bound(SOCK_STREAM, $port);
    listen($socket, 1) or exit 2;
    ready($name);
    alarm $seconds;
    accept(my $peer, $socket) or exit 1;
    sleep 1;
} elsif ($verb eq 'connect') {
    my ($address, $port, $seconds) = @words;
    socket(my $socket, PF_INET, SOCK_STREAM, 0) or exit 2;
    alarm $seconds;
    exit(connect($socket, sockaddr_in($port, inet_aton($address))) ? 0 : 1);
}
