// Somebody else's program: it sees nothing but what dstream::streaming gives it.
int main() {
    return 0;
}
