// Reads a C2SP log (folder, verifier key, earlier checkpoint) with the Go project's own implementation, golang.org/x/mod/sumdb/{note,tlog}:
// the signed notes, the tiles, an inclusion proof for every entry asked for, a consistency proof from the earlier checkpoint. Prints JSON.
// Only the names of files are ours: C2SP leaves the tile height out of them, the Go checksum database has it in.
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type folder string

func (f folder) Height() int                                { return 8 }
func (f folder) SaveTiles(tiles []tlog.Tile, data [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range tiles {
		data, err := os.ReadFile(filepath.Join(string(f), name(tile)))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func name(tile tlog.Tile) string {
	level := strconv.Itoa(tile.L)
	if tile.L < 0 {
		level = "entries"
	}
	n := fmt.Sprintf("%03d", tile.N%1000)
	for rest := tile.N / 1000; rest > 0; rest /= 1000 {
		n = fmt.Sprintf("x%03d/%s", rest%1000, n)
	}
	if tile.W < 256 {
		n += fmt.Sprintf(".p/%d", tile.W)
	}
	return "tile/" + level + "/" + n
}

func checkpoint(path, vkey string) tlog.Tree {
	text, err := os.ReadFile(path)
	must(err)
	verifier, err := note.NewVerifier(vkey)
	must(err)
	opened, err := note.Open(text, note.VerifierList(verifier))
	must(err)
	lines := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	must(err)
	root, err := tlog.ParseHash(lines[2])
	must(err)
	return tlog.Tree{N: size, Hash: root}
}

func entries(f folder, size, n int64) [][]byte {
	width := size - n*256
	if width > 256 {
		width = 256
	}
	data, err := f.ReadTiles([]tlog.Tile{{H: 8, L: -1, N: n, W: int(width)}})
	must(err)
	var found [][]byte
	for rest := data[0]; len(rest) > 0; {
		length := int(binary.BigEndian.Uint16(rest))
		found, rest = append(found, rest[2:2+length]), rest[2+length:]
	}
	return found
}

func main() {
	base, vkey, earlier := folder(os.Args[1]), os.Args[2], os.Args[3]
	tree, old := checkpoint(filepath.Join(string(base), "checkpoint"), vkey), checkpoint(earlier, vkey)
	hashes := tlog.TileHashReader(tree, base)
	included := 0
	for n := int64(0); n*256 < tree.N; n++ {
		for i, entry := range entries(base, tree.N, n) {
			id, leaf := n*256+int64(i), tlog.RecordHash(entry)
			proof, err := tlog.ProveRecord(tree.N, id, hashes)
			must(err)
			must(tlog.CheckRecord(proof, tree.N, tree.Hash, id, leaf))
			included++
		}
	}
	proof, err := tlog.ProveTree(tree.N, old.N, hashes)
	must(err)
	must(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash))
	must(json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"size": tree.N, "included": included, "consistent_from": old.N}))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
