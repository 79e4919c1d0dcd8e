use strict;
use warnings;
my ($mode, @args) = @ARGV;
if    ($mode eq "hello") { print "hello\n" }
elsif ($mode eq "stdin") { local $/; print "got " . <STDIN> }
elsif ($mode eq "args")  { print map("[$_]", @args), "\n" }
elsif ($mode eq "exit")  { print STDERR "bye\n"; exit 7 }
elsif ($mode eq "crash") { die "crash" }
elsif ($mode eq "utf8")  { print "héllo 世界 🦊 $args[0]\n" }
else                     { 1 while 1 }
