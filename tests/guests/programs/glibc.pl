# What glibc has several routines for, chosen by CPUID: strings, memory and mathematics.
use strict;
use warnings;

my $state = 12345;
sub drawn { $state = ($state * 1103515245 + 12345) & 0x7fffffff; return $state >> 8 }

# Strings of each length and alignment: copied, searched, compared, sorted.
my $store = join '', map { chr(32 + drawn() % 95) } 1 .. 70000;
my $sum = 0;
for my $length (0 .. 300, 1000, 4095 .. 4097, 65535) {
    my $at = drawn() % 4000;
    my $part = substr $store, $at, $length;
    my $moved = $part;
    substr($moved, $length / 2, 0) = substr $moved, 0, 7;
    $sum += index($store, $part) + rindex($store, 'z', $length) + ($moved cmp $part);
    $sum += () = $part =~ /[aeiou]+\d?/g;
    $sum = ($sum * 31 + unpack '%32C*', $moved ^ $store) % 1000000007;
}
print "strings $sum\n";
my @words = sort map { substr $store, drawn() % 60000, drawn() % 40 } 1 .. 3000;
print 'sorted ', unpack('%32C*', join '', map { $words[$_] x ($_ % 3) } 0 .. $#words), "\n";

# Mathematics, to the last bit.
for my $i (1 .. 1500) {
    my $x = drawn() / 8388608 * ($i % 3 ? 10 : 1e6);
    my $y = drawn() / 8388608;
    printf "%.17g %.17g %.17g %.17g %.17g %.17g\n",
        sin $x, cos $x, exp($y * 20), log $x, atan2($x, $y), $y**2.5;
}
printf "%.40e %s\n", 1 / 3, 1e23 * 3;

# Hashes of passwords, by libcrypt: MD5, SHA-256, SHA-512.
print crypt('cow', "\$$_\$box"), "\n" for 1, '5', '6';
