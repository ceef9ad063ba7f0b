package bitacora;

import io.delta.storage.HadoopFileSystemLogStore;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Iterator;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.s3a.RemoteFileChangedException;

/**
 * Commits to a Delta log on S3 by one conditional PUT (If-None-Match: *), so that writers in any number of processes
 * cannot overwrite each other's commit. Delta's own S3 store only locks inside one JVM and loses commits silently.
 *
 * <p>A PUT whose answer was lost is retried by the client and then sees its own object: every write carries a random id
 * in the object's metadata, and whoever finds it there has won.
 */
public final class ConditionalLogStore extends HadoopFileSystemLogStore {
  private static final String CONDITIONAL = "fs.option.create.conditional.overwrite";
  private static final String WRITE_ID = "bitacora-write";

  public ConditionalLogStore(Configuration configuration) {
    super(configuration);
  }

  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration configuration)
      throws IOException {
    FileSystem fileSystem = path.getFileSystem(configuration);
    if (overwrite) {
      send(fileSystem.create(path, true), actions);
      return;
    }
    String writeId = UUID.randomUUID().toString();
    FSDataOutputStreamBuilder<?, ?> builder = fileSystem.createFile(path);
    builder.overwrite(true).recursive(); // whether there is one already is the PUT's own check
    builder.must(CONDITIONAL, true).must("fs.s3a.create.header." + WRITE_ID, writeId);
    try {
      send(builder.build(), actions);
    } catch (IOException error) {
      String winner = writeIdOf(fileSystem, path);
      if (writeId.equals(winner)) {
        return; // ours arrived, only the answer was lost
      }
      if (winner != null || error instanceof RemoteFileChangedException) {
        FileAlreadyExistsException exists = new FileAlreadyExistsException(path.toString());
        exists.initCause(error);
        throw exists;
      }
      throw error;
    }
  }

  /** Writes the lines; the object appears whole at close or not at all. */
  private static void send(FSDataOutputStream stream, Iterator<String> actions) throws IOException {
    boolean complete = false;
    try {
      while (actions.hasNext()) {
        stream.write((actions.next() + "\n").getBytes(StandardCharsets.UTF_8));
      }
      complete = true;
    } finally {
      if (!complete) {
        stream.abort(); // closing would publish half a commit
      }
    }
    stream.close();
  }

  /** The id of the write that made the object; empty if another writer made it, null if there is none. */
  private static String writeIdOf(FileSystem fileSystem, Path path) throws IOException {
    try {
      byte[] id = fileSystem.getXAttrs(path).get("header." + WRITE_ID);
      return id == null ? "" : new String(id, StandardCharsets.UTF_8);
    } catch (FileNotFoundException absent) {
      return null;
    }
  }

  @Override
  public Boolean isPartialWriteVisible(Path path, Configuration configuration) {
    return false;
  }
}
