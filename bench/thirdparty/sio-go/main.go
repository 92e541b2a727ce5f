// Seals or opens (first argument) a MiB in memory for a while (second argument) with secure-io/sio-go (AES-256-GCM, 64 KiB fragments) and prints MB/s.
package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/secure-io/sio-go"
)

const size = 1 << 20

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Takes bytes to nowhere, in the fragments that come.
type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

func main() {
	block, err := aes.NewCipher(make([]byte, 32))
	must(err)
	aead, err := cipher.NewGCM(block)
	must(err)
	stream := sio.NewStream(aead, 1<<16)
	nonce := make([]byte, stream.NonceSize())
	plain := bytes.Repeat([]byte("0123456789abcdef"), size/16)

	var sealed bytes.Buffer
	w := stream.EncryptWriter(&sealed, nonce, nil)
	_, err = w.Write(plain)
	must(err)
	must(w.Close())
	opened, err := io.ReadAll(stream.DecryptReader(bytes.NewReader(sealed.Bytes()), nonce, nil))
	must(err)
	if !bytes.Equal(opened, plain) {
		must(fmt.Errorf("the output does not open to the input"))
	}

	once := func() {
		w := stream.EncryptWriter(nowhere{}, nonce, nil)
		_, err := w.Write(plain)
		must(err)
		must(w.Close())
	}
	if os.Args[1] == "open" {
		once = func() {
			w := stream.DecryptWriter(nowhere{}, nonce, nil)
			_, err := w.Write(sealed.Bytes())
			must(err)
			must(w.Close())
		}
	}
	duration, err := time.ParseDuration(os.Args[2])
	must(err)
	start := time.Now()
	count := 0
	for time.Since(start) < duration {
		once()
		count++
	}
	fmt.Println(float64(count) * size / time.Since(start).Seconds() / 1e6)
}
